"""The 32 kinds of 16x16 blocks that `frames-dct` tells apart: the variance of each coefficient.

Each class is two lines of the table, read together: one character per coefficient of `zone` except the three
DCs, Y on the first line, U and V on the second. Character number e of `DIGITS` says that the variance is
2^(e/2) in squared units of an orthonormal transform of samples 0 … 255.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from encoders.block_transform import plane_slices, zone

CLASS_COUNT = 32
CLASS_BITS = 5
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

TABLE = (
    "ad6785566555555455554444445444444444444444444444444444444444444444444444444444444444444444",
    "8956655554444544444578556455544445444444",
    "npgiideffbbcdc999aaa7788999767778786666677676555566666555555555565555555555555555555555555",
    "fhabb888876666655556cd999777766666555555",
    "rljeggbbed999db8888c977767b8666666a7555555697555555558655555555586554444444575544444444456",
    "qkfdgeabe9889d97668cqidcfe9ae8778e96667d",
    "C7v55u545s5444s54444q544444q4444444p44444444o444444444n4444444444n44444444444m444444444444",
    "E6z56w555w5445t54445E7z56x555v4455v44445",
    "nthkrefjobcfimb9behl989befl9779adem86778acdj766678abbg7566678aaaf75556667989f655555677879g",
    "cg99b7778756676555569c789666755556555556",
    "dE7dz67dy567cu5566cv55556cr555556cs4555555cp44445555bq444445555ap4444444555ao44444444455an",
    "az6bv56ar566ar5555aq9B6aw57at5569t45569t",
    "uuopokmmlhijjifghhggdefgfedccdeeccbaabccbbaa999abba998888999988877778888877776677778776666",
    "iicdc9a9887777766666dc9a9887766666566655",
    "xqsnipkhfnhfdclgecbajedba98hdca9888gba987777fb98777666d9877666666c87776655555b876655555555",
    "qjlgegdcaeba98b98877nhhecdba9a9987977766",
    "uvnqpjmmlgijjjefhhhhcdefffeabcddddd9aabbbbbb88999aaa98777888889896777777787776666677776777",
    "opikjeggfbdeec9aabbbkleggbddd9abaa788998",
    "txnrujnqqgjlooefilmlcefhkkjbcdfhjihaabdehhgg89aacehgee7899abfgecd77899abffdbb6677889cedbaa",
    "eg9bc789966777555666bd89a677756666555555",
    "szlpwikqufhkordfgjnobcefjllabcdehjk89abcdggi8899abdefg77789aacddf6777889abccd6666778899abc",
    "krfhmbdgi99bef7789bchmcei9bce78abd66789a",
    "yvutpqqomoonlklmlkjhjkkjhgfhiihgeedfgggfedcbeeffeecca9cddddcbba99bbcccbba9988aaabbba998877",
    "nliheeedbbbaa9998888kgeebaa9988887777666",
    "qAnmxkjmvjijkuighhjrifhghjrhfgfgghqgegfffgipfdeefeeghofcddeeeeegnecdcdddddegmebdcdcddccdfl",
    "an89m678i6677i65667g8g77e666b5556b55555a",
    "Cozokxljhvkiihskhghfsjgfgggrifefffhpifdedfhephddddegecohddccdeddbohccbbddcbbaogdbbbddbaaba",
    "sbnb9l977j7766j86665o8j76i765f6655f65555",
    "wzrtumpsrjmopohjlnnmfhikmlkdfhikkjiceeghiihgbccdfgggge9bbcdfffeec99abcdeeeccb8899abccddbba",
    "nphjkdfhgabeec99acbajlefgbcdd89aba788998",
    "Azvwusutqprrqnnpqpnllnoomliklmnmkihijklljigfghijkjhfedefgiiihfeccdefgghgedcbbbcdefgfedbaa9",
    "gfbda9a9887776766666ab888676666655555555",
    "vCpuyloswjlosvgikostfgikorpcefhknnnbcefhjlmmabcdfhikll9abbdefhkkj89abbddfgiij7889abcdfgggi",
    "jnegiacde89abb677899ghbde8aab77888666777",
    "wxsttqqqqnoonnllllllikjjijhhhhhggghggggfeeffeffeedddeddcdddcbcccbbcbcbbabaabbaabbaaa9a99aa",
    "sqnnmkkljhhhhgfffeeenmijiffgecdddcbbbbba",
    "Bxyvqvuqmttpljqqpljhoppljhflnnlihedllmligfdcjjlkigedcaiijjhfdcbaahghihfdcba98gffhgedca9987",
    "smnkgjifcggeb9ddda97mhhgceeb9cca98aa9876",
    "Elxkkxejkufdjjudecijscdechjsdbdcahjqbababagjpca9aabafinbaa9a9aafio9aa9999baehla8998999a9dg",
    "CjwjkvfjktffjirdheihCmwjmwglnuggmksfkgjj",
    "Cwzwpwwqmuvrmjruslkhptsmjigorsokhgfnqrpkhgfemnqplhgeeclmppmifedcbkloomjgedbcbkknomjgedbbba",
    "jdhe8ee96bd9659b9665c8986776566555565555",
    "yDuwBrsuxpqrstnooooqlmmmmmojklkkjjmiiiiihhilhhhggffghhfgfeedceedieeeddcbccafhdddcbbabaacdf",
    "kogildefhacccf999abdhlefibdcf89aad78889b",
    "txqpwonnxnmmnvmlmmlrmllllkrklklkkkqlkkkjjjkojkjjiiiijoijjiiihiiimiiiihiihghiniigiihhhggggn",
    "glddkabbl99aai88999dbd99b888a77789667778",
    "zAuxwqtusoqtsqlnqrqpjlnpponhilnonmlghjknnlkjefhiklljijdefhikkjijhccefgijihhgfbccefgiihhffe",
    "mmgihdegdabcba899aa8jjeffbcdb99ba9788887",
    "AByyyvwvvtuusrssrqpoqqqpommooonmllknnnmkkkjjllmljjiiihkkkjjhhhhfhjjjjihfgfefgiiiighfffddde",
    "qnnlkiihghgfeededcccihgffddccbbaaa9a9899",
    "yCtxzptvvlpstsjmorqqijmoqoohhjloonmfgjjlnmlkeehijklljjddffhikkjijccffghijihghbbdcefgiihgfg",
    "rwlpsilopfhklldehjjjkpgjldfijbcfgg9bbdfe",
    "wrunvtmpxxloryxomopytnpnpmuokppoplqphlounljpqhiluvkjirqiiiqvqihjqliiijqqkgjhnmfiiljmkkhign",
    "kiidkhbflgadgjf9beega9a8a978b7787a77787a",
    "Azyxwvvttvuurttutrqsrssqropqprropnqpnqrpnnnoqnpppnmomonnoopomnmllnmonoomokljmmlmnnnknjkjkm",
    "gieeeacba9ba88789778bc88a677766666556556",
    "BAxxutvtrrttqnpqrpolnoppmmjmnnpnkjijlmnmkjigjjklmjihgehijjlkihgdeghhijkihfdddfggghihgedccb",
    "xutsppqnlnnmjillljheqomljjjifihhfdfgfecb",
    "CBzxxxvvvvtuuussssstrqqrrrrppqppqqqooooonoonnnononnonnlmmmmnmnmmlkkmlkmlllmkljikkkkkkkjkjk",
    "usqoonllmlkkkjiiihhhkkighfffedcdddbcbbaa",
    "Aztuusstpqoqoqolpqnonjlpllmnihmniinmfhjljgjlkgffjkhgijjegfhjighgkkffgehifiggiidcgdhihegdfg",
    "DCxyxtxwuurvstrpttqsBAyzxvwuuususttrttqs",
    "Azzxzwwvuvuvsvtsttrrpqrqqqqpnppoqoqonnonnnooomnlmmlnmmmnmlkmlllkpomlkkjkkjklmmmkkkkijiiljm",
    "Axwwwtstsspqpspooopputppqomnmmjkklkhjkhk",
)

DC_PLACES = tuple(place for place, (_, u, v) in enumerate(zone()) if u == v == 0)
AC_PLACES = tuple(place for place in range(len(zone())) if place not in DC_PLACES)
LUMA_COUNT = plane_slices()[0].stop - 1


@cache
def class_exponents() -> np.ndarray:
    """Return int64 [32, AC coefficients]."""
    rows = [TABLE[index] + TABLE[index + 1] for index in range(0, len(TABLE), 2)]
    return np.array([[DIGITS.index(digit) for digit in row] for row in rows])


def exponent_lines(exponents: np.ndarray) -> list[str]:
    """Return the table's lines for int [32, AC coefficients]."""
    rows = ["".join(DIGITS[min(max(int(e), 0), len(DIGITS) - 1)] for e in row) for row in exponents]
    return [part for row in rows for part in (row[:LUMA_COUNT], row[LUMA_COUNT:])]
