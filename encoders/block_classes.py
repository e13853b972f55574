"""The 32 kinds of 16x16 blocks that `frames-dct` tells apart: the variance of each coefficient.

Each class is two lines of the table, read together: one character per coefficient of `zone` except the three
DCs, Y on the first line, U and V on the second. Character number e of `DIGITS` says that the variance is
2^(e/2) in squared units of an orthonormal transform of samples 0 … 255.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from encoders.allotment import DIGITS
from encoders.block_transform import plane_slices, zone

CLASS_COUNT = 32
CLASS_BITS = 5
SMALLEST, LARGEST = 4, 40

TABLE = (
    "bd7785666555555455554444445444444454444444444444444444444444444444444444444444444444444444",
    "8956655554444544444578556555544445444444",
    "npgiideffbbcdc999bbb7788999767778886666677776555666666555555566565555555555565555555555555",
    "fhabb888866666655566cd999777766666555555",
    "qliegfbbdc999cb8777b966666a8665556a6555555596555555558655555545585554444444575544444444446",
    "qkfdfeabe9888d97667cpidcfd9ae8778d96667d",
    "C7v55u545s5444s54444q444444q4444444p44444444o444444444n4444444444n44444444444m444444444444",
    "E6z56w555w4445t54445E7z56x555v4455v44445",
    "muhjreehpcbcgnb99bfm9889aem97788adn8666789ck86666778bi855566678ah7555556677ag755555566679h",
    "ci99f777b756696565688d77a566855557555556",
    "dE7dz67dz567dv5566cw55566cr555566cs4555566cp44455556bq444445555bq4444445555bp44444444555an",
    "az6bv56as555ar5555ar9B6aw57au556au45569t",
    "sumopikmlfhjkjdeghigbcdfggeaabcdeec99abbcdcb8899abbba9778889aba986667778999876666677888776",
    "ghbcb888876777566666cd899777766666555555",
    "xqsnipkhfnhfdckgecbajedba99hdca9888fba987777ea98777666d9877666666c87776655555b876655555555",
    "qilgdgdbaeaa98a88877nggdcdba999887877766",
    "uvoqpjmmlgijjjffhhhgcdefffeaccddddd9aabccbba8999aaaa98788889989886777778777776666677777777",
    "opikjeggfbcddcaaabaaklegfbccd9aaaa788888",
    "tyorwknqshjlprfgiknodefhklmccdfhjjlbbcdehhij9aabcehggi889aacegfeh87899acefddf777889acedcce",
    "egabc889966777555666bd89a677756666555555",
    "ywstqoqpnmnnmkjllkjhijjjigfghhhhfedeffggedcbcddefeccbabbccddcba99abbbbcba9988999aaaa998877",
    "kjfedbbbb99898877777gebca998877777666666",
    "szlqwikqtfhkordegknobcefjllabcdehjj89abcdggh889aacdffg77789aacdde6677889abccd6666778899abc",
    "krehmbdgj99bef778abdhmcei9bcf78abd66789a",
    "Coznkxljhvkiihsjhghgsihfgggrifefffhpifdeefhfphddddegfcogddccdeedcogccbbddcbbbogdbbbdebaabb",
    "sbna9m977j7766j86665o8j76i766g6655f65555",
    "Avxuousolrrokhppnjhfnomjhfekmligedcjjkjgedbbiijifdcba9hghhedbba98ffggedba9988edeedcba98887",
    "qmmjfiheceecb9ccb988mhhfbdca8aba87998776",
    "wyruvmpsrjmopphjlnnmghikllkdfgijjjiceefghihgbcddefggfe9bbcdeeeedc8aaabcdddccb78a9abbbccbaa",
    "oqhklegihbcefe9abcdcjleghbcdd9abba889999",
    "Azvwusutqpssqnnpqpnllnoomlijlmnmkjhijkmmkigfghiklkhfedefgijjigedcdefghihfdccabcdeghhfdbbb9",
    "gfceb9aa887877767766bb898677666656555555",
    "vwssrpppommmlkkkkkjihkihhhgghhgffffefffeddeeededdcccdbccdccbabbabbbbbbbaaa9abaabaa9a9989a9",
    "uqpomllljiiiifggggfdonkkigghfefeedddeddb",
    "qyonwmllwlkllvkjkkkrkijjjjrjjijiijqihiihhijphhghhghhiohggggggghhngfggfgggfghmgffffffffffgn",
    "dmabm889k7888i77778g9d88c777b66679666669",
    "wBquxmptvjmpsuhjlpssfgjlprpdfgilnnncdfgillmmbcdegijklkaabdefhikkj89abcefghiii889abcdeghggh",
    "knfhibdee89abb778999hicde9bbb78898667777",
    "wEsvBqruynpqsulmooorjllllloijjjjjjnghhhhhhimffgfffffhjeeeeddddeekddddcccccaehcccbbbaaa9cdg",
    "jpfhlcefiabbcg8999behmdfiaccf899ae78789c",
    "Elxkkyejkufdjkudebijsddechjsdbdcahjqb9bab9gjpca9a9baginbaa8a9aafio9aa8899b9ehla8988899a9dg",
    "CjwjkvfjktffjiseheihCmxjmwflnuggmktfkfjj",
    "Cwzwpwwqmuvrmjrusmkiptsmjhgorsojggenqrokhgfdmnqpkhgeeclmoplhfedcbklnolhfecbbbkknomigdcbbba",
    "lfhf9eea7cda76ab9765gab97987677655666555",
    "zzvvvttssrrrpppppommmnnmmkjklllkjiijkkkjihhhijhiihgffffhgghgfeeddefffgfeedccceedeeedcdbbbb",
    "rpnmkjkighhgfceeedcbmkhhffeeccdcbaabaaa9",
    "ABwyztvvvsstsrpqrrqpoooppnnmnnnnnlmlkmllmlkkjjlkjkkkjiiiijijjjiihhghhhhhihhghggfggghhggfef",
    "mlhhhdffdbbcbc9aa999iiefebccb99a9a888788",
    "zCtxzptwvmpstrkmprrqhjmpqonhhjmoonlfgijlnmlkdfhhjlmljicdffhilkjihbceffhjjihggaadcefgiihfff",
    "swlqsilopehjllcegijjlpgkldfijacfgg9bbdfe",
    "xtvpwtoqxxmoryxomopytopnomuolppnplqpilounlkpqiiluujjirqjiiqupihjqmiiijqpkgihnmgiiljlkkhigo",
    "kjhekhcemgacfjf9bddga998a878b7777a766879",
    "Azxxwvvtuuutqutusrpsqssqropqprroonqpnqronnnopnpppmmolonnoopolnmllnmonoomnkljmmlmnnnkmjkjjm",
    "ghdeeacba9ba88799778bc88a677766666556556",
    "tusoxtlrqsnqntpkrnnrokookmqliolmklomgnmkljkolglkljkkinjfmjijijihmkdkijijhgjhlicjhhghhhhhjl",
    "qopksokponjolkkgnkkljhhekgchgfbffgdbgecf",
    "Bzyyvvvtstutqorsrpompqqqmmjnoopnlkilnnnmkjihllmlmkjhhejkkklkhhheeiijjjkhhfeedhhhihihgeeddd",
    "wttroppnknnljhkkjigepnmliijhfhhgecffedbb",
    "CBzxyxvvvvtuuutststtrqqrrrrppqppqrqooooonopnnnononnonnlmmmmnmnnmlkkmlkmlllmkkjjlkkkkkkjkik",
    "usqoonllmlkkkjhihhhgkkighffeedcdcdbbbbaa",
    "Aztuusstpqoqoqolpqnonjlpllmnihmniinmfhjljgjlkgffjkhgijjegfhjjghgkkffgehifiggiidcgdhihegdfg",
    "DCxyxtxwuurvstrpttqsBAyzxvwuuususttrttqs",
    "Azzxzxxvuvuvtvttttsrprrqrrqpnqpoqoqoomonnnooomnlmnlnmmmnmmkmllllpomlkljklkkmmnnjkkkijiiljm",
    "Aywwxtsussqrpspoopppvtppqomonmkkllkijkhk",
)

DC_PLACES = tuple(place for place, (_, u, v) in enumerate(zone()) if u == v == 0)
AC_PLACES = tuple(place for place in range(len(zone())) if place not in DC_PLACES)
LUMA_COUNT = plane_slices()[0].stop - 1


@cache
def class_exponents() -> np.ndarray:
    """Return int64 [32, AC coefficients], each from 4 to 40."""
    rows = [TABLE[index] + TABLE[index + 1] for index in range(0, len(TABLE), 2)]
    return np.array([[DIGITS.index(digit) for digit in row] for row in rows])


def exponent_lines(exponents: np.ndarray) -> list[str]:
    """Return the table's lines for int [32, AC coefficients]."""
    rows = ["".join(DIGITS[min(max(int(e), SMALLEST), LARGEST)] for e in row) for row in exponents]
    return [part for row in rows for part in (row[:LUMA_COUNT], row[LUMA_COUNT:])]
