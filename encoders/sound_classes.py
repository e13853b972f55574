"""The 64 kinds of spectra that `sound-mdct` tells apart: the variance in each of 50 bands.

The spectra are of steps of 20 ms, brought to a mean square of 1. A line of the table is a class, a character
a band: character number e of `DIGITS` says that the variance of the band's coefficients is 2^((e - 32) / 2).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from encoders.lapped_transform import STEP

CLASS_COUNT = 128
CLASS_BITS = 7
ZERO = 32
SMALLEST, LARGEST = 4, 48
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

BAND_EDGES = (*range(0, 40, 2), *range(40, 80, 4), *range(80, 160, 8), *range(160, STEP + 1, 16))
"""Bands of 50 Hz up to 1 kHz, 100 Hz up to 2 kHz, 200 Hz up to 4 kHz, 400 Hz up to 8 kHz."""
BAND_WIDTHS = np.diff(BAND_EDGES)
BAND_COUNT = len(BAND_WIDTHS)

TABLE: tuple[str, ...] = (
    "4444444444444444444444444444444456bDCDD95444444444",
    "444444444444444444444444445567cDDDDc65444444444444",
    "4444444444555678bgpJHj9655444444444444444444444444",
    "44444444455556678abemFGFjc865544444444444444444444",
    "555555555555555566678agADEFFjc86555555555555555555",
    "555666779acfkFHHHqkgc96655444444444444444444444444",
    "589accefffghiijjkkllmnpqsxCCBDBAAzBtqponnmllkkkjjj",
    "655556665666GC656555655665656665665667bDD866556565",
    "65756556656666556766666566666566665666667Fi6666666",
    "6666666666666666666666678adnFGEh876666666666666666",
    "66766666666766666777666666666666666666666cBDc66666",
    "68eKHc75444444444444444444444444444444444444444444",
    "7777777777777777777777777777777777777777777778dBCC",
    "77777777777777777777777777777777777777777779BCB877",
    "7777778899abdfjqFIIFpfb987777777776767777777777777",
    "88889889888988899chGHF9888888888888888888888888888",
    "899888999999a88a8998998999888989989dCGea9999999999",
    "8998998999a99989889999999999999999999999aCDa999999",
    "8cceeikghhlkroopwpyvtqzwvFGyBwzpsnonmqplf544444444",
    "9888898988899988898888889888889aDECb98988888888888",
    "9888999988988888898998898898888898899eFFa888888989",
    "99988889888988898999adFFGjda9998898989888888888888",
    "999988899999998988898989899998999aeEFea99999999899",
    "999999999999999999a9a9acgGCEEBga999999999999999999",
    "99999abdfkHHGHmgdcaa999998989888998888888888888888",
    "99bcfjqGFHGFDmgdb987665555544444444444444444444444",
    "9a9aaabbcdfimzJHqmhfecbaa9999999888989988988888889",
    "9iklopoqrrsuvABBCECBCFCAyByusrqqoonnnmmmmmllkjkjjj",
    "aa9999a9999999999999a9a99aaadiDFBfcaa9999999999999",
    "aaaabcbbccdegilsHHFHqifdcbbbbaaaaaaa9aaaa999a99999",
    "aabaabbbbbbccccccccccdddeeffgghijkmouzBCAzAomlkkjj",
    "ababbbbabbab9aabababbaaabbabbbbbbbbbbbcgCddegioBzz",
    "agghimkklkmnpruvAttrzxszAwCxvvuxyEzvyzuql944444444",
    "bbbbbbbcbbbbcbcbbbcbccbcccccccccdddeeffghjnBBBAxml",
    "bcdgmFHHFGkecaa99989998889898888888898888888888888",
    "cflHKrhea99998899888888888888888888898888888888888",
    "cklrCxAwyCyyyCzAwBAzxxvwvuwwyxxyxxyzAxuvwrolifjgee",
    "eeeefeeefefhfffgghhiqCoyDACCCECojigffeddddcbaabaaa",
    "efefeefeeefeefffffffggggghhiiklABCvBCBxpjgfedddccc",
    "ejlmlnnnooqrwDEwutxuyvxABABCwxxDuutppqnid544444444",
    "ekvqABCBwFECFDExtrywvppoppqqvwwutssvvqnnqmjhecfdb9",
    "gnvvzzwxusrrstutsrpppoooprqrnpspsxvvzzzAyxvvvvvxws",
    "guqwAAwyAyyAyzzzABzzxwvvwyBAAzyxvvuwxvuwvvttqnrolj",
    "hmwwBzzyyxyxyAvvuurtsrtuvuwvwzABzzwvwwwwuvvtrrqrpl",
    "iiiiiiijjjjkkkllnuCCDDEDzDAColjhfeedccbba999999998",
    "ipsssttstttuyAAzyyyyzxxzABBBAAAzyyxvvvroj754444444",
    "ixDDFDHGvvvspppqqoqppplnmquuomsusqtsroutspqqppqsrn",
    "juxyDCxBAvxCCyyCDCyyyzwuvxAxwwvussrsrsrtuxvtpnrnhh",
    "krzADBBByyxzAyzyzzzywwvwvwxxvwwuvwvuwvwxwwuwuuutqo",
    "kwwyCBxBBvxCCyxABzxzzwvvwzByxxwvtttuttsuvywuqptpji",
    "kxADFEECCCDDBAAyxyxyxwxxvwsurrsurqrqponmonmlllllki",
    "llxGHHHvljgccbgvnbetm7fj55j55554444444444444444444",
    "lsDwJFADwBssqrnkkjghjgfgghhhhjlmoqmfcdefcbbbegfda5",
    "muFzIHACzBxAswspsolknjikoqqnmjmkmqqhffhhdeegkjjhf9",
    "mvDEHGGDxAxussppnnnmmnllloprpoqvutrollonjihhhijigd",
    "onxAEIDECDFpxBnumedqiufrqpd67raj8g44f4444444444444",
    "otCDFDDDCCAAzyyyxxwwwxwxxxwzvvwutsrrrrrqqqqqqpppnl",
    "ovDDIECBAzzzyDywwuttwtssstssrrrrrqpooonljlmnkjihfc",
    "qxxzAvxDFGEDEFECAsponkigfeddcbbabdadbdbba989888787",
    "rxyDEDCECDDCDABByyzBAxwwuttrpnnpqoonljiiihhghghgfd",
    "sDEGIzEssAypuznlnznnrqnmljjwoolmledehgheabca899976",
    "tAFFFIxBylwzqinxoggktjindnggqdtnfjbb9cde88a8888765",
    "tBDEEDCAABBBBBAAyyxyxxwvvwwwwvwwussrrsrrpponkklkie",
    "tBEEDAzDGBBBzAzyzyBDByuoommmkkieegceefdaa888876655",
    "tDEGFECzACAAAAzyvwwwwvutuuuvutttspoonopomlkkhhihfb",
    "tFIBGGBurtxsnsfoghedifbcabaac998888788787877887776",
    "uzCDDDDDCDCBBBBzzzzyyxxxwwvvutttstsssrpnkf98888888",
    "uBCHEEHwrFDpuytsuimrknennininigmlfbbfdbaa999999886",
    "uCFHGAFysBzrswrqrCqpqqlnljlqjjghfbbbb9a99999888876",
    "uKFsmjgecdcbbbabaa9a9aa99aba9aaa9a9aaa9aaaaaaaa9aa",
    "vCEEEDBzzAAAAAyzzyyxxwwvxywwvxwwwvtttuutrqppnnonlh",
    "vEGGCCCzrFEDqqyukspusuplojqqijikjeedfccbbaaaaaba97",
    "vFHGDGBBwsvtppooknlimjeghgefcedbaabaaaaaaa99a9a987",
    "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww",
    "wCHHCFCwwuuCwpxvoxmusvmlppxunrmqkiigkifggdcccddca7",
    "yDDDDBBzABCBBAyzyyxxyvuuvwvwwxwxxwvusvturrpqnlligc",
    "zyyyzzyyyyyyyyyyyyyxyyyyyyyxyxxxxxxxxxwwwvuutsqpmg",
    "zBDEDDBzBCBCBCABzyyyywwvwxwwwvvvussrqsqpnmllihiigd",
    "AGIGDCzyxwutrrrrrrrqqpnnooonlllkjiijiea86444444444",
    "BDFFHEBABDxxuwsqrommnlkkklmllljkllliiggdceedccbca8",
    "BEFFGDBBzzzyxzwvvuututtsuutsssstsrsqqrrqoonnkllkif",
    "BGEFFGEAAvvstpppnqolljjilljihffghefdeddccccbcabaa9",
    "CBGFFECCBDDxwvwuwtvvwtrpqprpppoopmmmnljifcaa898877",
    "CEFFEDCACAzyzzzwyxwwutttussqqppppnnnmjhc7544444444",
    "CFFGECDBCCBvtussrpqsqpnmmmlmllkkkkjjkjiiggffeeeddb",
    "CHEFGBCACBwusqqomlljjiijggiihggijhfggddbabca9aba96",
    "DFDCDBAAAAAAzzzyxxxyxwwvvvuwtutttsssttssttutssssrp",
    "DGDCEAyyvttFBrsttsrrmskjiikEsheykcrd8ufanp8li5ed48",
    "EvyABCAADCBCAAAyBBAzxxvyxwywxwvwwttuuutto644544464",
    "EEBDEBBECBAyyzzAyyAAyyxxwvxtrqpoonnmlllkllljkmlkjh",
    "EEGFFEDBAzyyvwutttttrrqpqqqqopooomnmmmmllkjkijjihf",
    "EHFFBDCADCyvvtrqonnlkljhhighffgiihkiifedddcbaabba7",
    "EHFGECCzDzxutrqpnmlljkjjijiikkkkkjjkljgfecba99a986",
    "EHHFEzywwvsspppoonmnljhggfffddddcbcbb8765555455554",
    "FtuxuDIzqrsBFCrmorwytrvnspulklkonknnnkh54774444446",
    "FvxACDBzCBBCCBzyCBzzyxwvvsyvwuuwtuutussrok54554444",
    "FvzBEDCBCCBCCBzzCxBzzxvvtsurqrprqqqqrqqoj644444444",
    "FCHEEEADwBzrupwtrxotppkhjjmgghfeddddegeeeedddddcb9",
    "FDqGBvuusFIstturqmrtrrjjjoiikihgfeeeccbbba99888766",
    "FEEGEECBECzxtvtsppppnnkjjjhhffijjjlihdca9bba8abba7",
    "FGCBAAzCzzzzzzyyxyzByxwvwxuuusqqppqrswuutrssqppnmk",
    "FGEDECAzzAzzyyzzxxxxxwwvvvutstsrrqqqqrqqqqrpppppnm",
    "FGFEEEDBCCyvutqqnnnlklkkikkjjjklkiihiebaaab99aa986",
    "FHEFDCCBEAwxurrqnnnnlljjhggfffgiihiggcb99aba9aba96",
    "FHEFDDCACBywusrqmmmlkkjihihgfghiihighcb99aa9889986",
    "FIEEDCBzCAxvssqpmmlkjjhhggffeefhgfhffa977887678875",
    "FJDBEyxvwuqywpoqsuvvpmihihgvgfdsfbid5i68gg7a967a45",
    "GuwBByDBACDABBBBBDzxAwwxwttrsrrusopqqrqk74aeed4444",
    "GvvzCCzxAAACBAwvAAxxxzxywuyuvwvywxvuvstspnhghf5444",
    "GvxzCDCyCBBCBzyzAzzzyywvvuxtwuuxvwwuwtttpmi6555445",
    "GwxABCAABAzAAzwxzCBxwAxvwxwvvvwxvwvuwvuuuqkgjkh754",
    "GwzBDDCzCBCBBzzxByzxyxwxxswuuuuvtutsusrtoj55gg6444",
    "GDEFFEDzyBzzxwvvuvtstsropppspppnommkkllkigihefgfda",
    "HxyyzwywzAyzxywxzwuytvtutrtsstuxzwwxzywxvrnnppoj55",
    "HFBECCBzzywwvwywwwwvvvutttrpqsrqpppoosusrvttqpomjh",
    "HGBAAzyBzxxyyxyxxyzAxxwvwwuttsqpoopqrvsttqrrpoomlj",
    "HGCBAzyBzyxyyxwxxxyzxvvuvvttsqponoopqustsqqqoonlki",
    "HJGwuoliggefdaab9988765555555544444444444444444444",
    "IxzzDCAzyCyBzywyzxAxxuyttyvsstrrrqrqqpqpnic7bhgca7",
    "IGAzzxyAxwwxxvwvvwyzwvvtvvtssqpomnoppurrrppponmljh",
    "IIHpjfdbaa9988889888888888888888888888888888888888",
    "JGBByxxAxwwxwwvvvvxyvuustusrrponmmnoptqrrooonmlkjh",
    "Kwvxyywtvwxyxttrwstssurqqprqpqrtqrtrrrrqpmkhijh6he",
    "Kyxwtsrqtqstqppoppppnpnonnnnnmmmmmmlklkijhigfd7599",
    "KButsrqtrqqqpppppprspponoomllkjihiijjmlkljijhhffdc",
    "KCyxwuuwtstttssssruvsrrpqroonmkjjjkklqnnnlllkjihge",
    "KFzyxwvywvvvvuvuuuwwuttrtsqqpomlklmmnrpqpnnnmlkiig",
    "Lomonmlmmllkmj8458bbegec559hde6744444785a444444444",
)


@cache
def band_of() -> tuple[int, ...]:
    """Return each coefficient's band."""
    return tuple(int(band) for band in np.repeat(np.arange(BAND_COUNT), BAND_WIDTHS))


@cache
def class_exponents() -> np.ndarray:
    """Return int64 [64, 50], each from 4 to 48."""
    return np.array([[DIGITS.index(digit) for digit in line] for line in TABLE])


def exponent_lines(exponents: np.ndarray) -> list[str]:
    """Return the table's lines for int [64, 50]."""
    return ["".join(DIGITS[min(max(int(e), SMALLEST), LARGEST)] for e in row) for row in exponents]
