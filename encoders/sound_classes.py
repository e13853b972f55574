"""The 128 kinds of spectra that `sound-mdct` tells apart: the variance in each of 50 bands.

The spectra are of steps of 20 ms, brought to a mean square of 1. A line of the table is a class, a character
a band: character number e of `DIGITS` says that the variance of the band's coefficients is 2^((e - 32) / 2).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from encoders.allotment import DIGITS
from encoders.lapped_transform import STEP

CLASS_COUNT = 128
CLASS_BITS = 7
ZERO = 32
SMALLEST, LARGEST = 4, 48

BAND_EDGES = (*range(0, 40, 2), *range(40, 80, 4), *range(80, 160, 8), *range(160, STEP + 1, 16))
"""Bands of 50 Hz up to 1 kHz, 100 Hz up to 2 kHz, 200 Hz up to 4 kHz, 400 Hz up to 8 kHz."""
BAND_WIDTHS = np.diff(BAND_EDGES)
BAND_COUNT = len(BAND_WIDTHS)

TABLE: tuple[str, ...] = (
    "44444444444444444444444444444444444445CDjydAA44444",
    "4444444444444444444445567afsGFk75558vEd64444444444",
    "5555566678acglzEqGFmf976555555555555555559Cw555555",
    "66655655655555556565655655565666565555566556cACAA6",
    "6666666666677789acfkHHib87666666666666566666666666",
    "66666766776788adhuGHlb87666666666666666cC666666666",
    "66667789bdhoEHtjeb9876666666566669BB866666667C7666",
    "66755766666767776778bkFBd989doBa766666666666668D86",
    "6676777667777777787888adkFGGmea7766666666666666666",
    "6777667766677667677676666777BvaDDEc877666667666666",
    "67xD76666bDd766566666666666666667eCDDzc76666666666",
    "76666677677677889adhCyfgxGCze9776666667666676778Cj",
    "778acflwHFwkfca9bhEDf75444444445cBe6444444444445za",
    "77F767677776776778776777666776666777666776667778mE",
    "89999bbdfjqGFGHGrkgecbaa99999998888888888888888888",
    "89cLb898889877788988898898888888988888888888888888",
    "9889888998988989888898999bjGFFe9899888998988889889",
    "99899899999999aabcdfnDFFFgcbaaa9999999999999899989",
    "9998999899999989a898998999988999999999999cACCa9999",
    "99998999999998999988a999aabekGDDea9999999999999999",
    "99999999899899999988998999999999ajBkACDDa999999999",
    "99999a9aabbcdfhnFIGGCofdbbaaa999999999999998989999",
    "9aaaabcbccccddeeefffghijkmnrAzxBBAxAsBCqmkjihhhhgg",
    "9abehqHJqieba887877877778779kEa7887777877787777777",
    "aaaabaaaabbbbbcbbbbccccddddeffghiiklnqwDzzzAyomlll",
    "abbdeikuHIHrkhfdcbbaa99999989989999988888888888889",
    "abcefghiijknCpnnopqrtwFDBEAvtsqponnmllkkkjjjkvnyom",
    "abehnAGrjfca876555544444444444444444456bEb54444444",
    "bbbbabbbbbbbbbbbbbbbbbbbbbbbbbbcccccddddeghjpBAAAx",
    "cbbbbcbbccdcddedefggyojnEGDtkihfeddccbbbbaaaaabdBn",
    "cooqwytvxvwyyvxyxCzxxyvwxyCCBBAwuuvxzxtwutqqonomkj",
    "deeffekjgehgkssolmnmxlmqvppAstFsvDsrtqlke867655556",
    "dgghiikklkklnpwvussrwuquwtuxAsuxDDzwyAuqla76665455",
    "ejkmlmmnoopqwDFvttxtyuxzAyACxxwEuttooqlhd554444444",
    "fgghhkkiijlmspppvqxuyvBzBEGBBzrprnomlpoke655554444",
    "fhhlwABtuEEwEEEvspxuqnnnpnonrtstssBABrmmplhgdbdcba",
    "gjpzJIrljrvcjkbgca99998898888998888899898889889898",
    "gmlzEyBxzDABBDAAwzzyvtsrrrtuwwxxxxyyzxuvwromifjgdd",
    "gmppqrqrrssuyDCyzwxxzyxABCCBzAyzwxusttpmh644444444",
    "gtuvCywyAxAAyADyzywyvDwutyzyBAzzutrtssrutvtsomqmig",
    "hjttEGyEFEzyEFDpgb98695658554b44454444444444444444",
    "hlwHEmgda976555544444444456gCmEb9Af544444444444444",
    "hpyzAAzxtsrrstutsrppooooorqrnprqsxvvzyzAyxvuvvvxws",
    "hqwzECBCAECFDDCBByyABwtuwropnnnqtvrpmkkihggggghgfd",
    "igqyCywDFEqmfmlha79fcquGDe976f5l544444444444444444",
    "ioFHCBfb987655554444444444444444444A444445zvyhz444",
    "ipFAmgca98776766666666666766666666676667yE76666666",
    "itwxDDABAwyBBzACDEzzxwvuvwAxuvutssqrrrrttwvrpnqmih",
    "jkvEFHFpjfddfiqFFCngc8fj55554444444444444444444444",
    "jqsttuttuuuuyxxyyyyyyxwzABABBAAzyzxvwwsoj854444444",
    "jryyBAzAxxxzAyAAAAAyxwvwvwyxwwwvvwvuwvwywxvwuuttqo",
    "jvwyCCxBAvxCCyxBCzxzzwvuvyByxxwutsststsuvywuqptpjh",
    "kkkllrCnmklmopzzrptCtEohfffeeddkddeefgilBkBpda9866",
    "kuzCDDCBBBDDBCBBABzAAAyyxxuusssurqqqqonmnnmlkklkji",
    "lszAEBAAyyywyAwvvusutsttvuvuvzAzyzwwxwxwuvutsrqrpl",
    "lwCEHFGExyutsrqqqooopolnmoptqquxxtpnnmqpmlllklnmlj",
    "msDwJFADABssqrmkkjghjffgghihijlmovngddefcbbbegfda6",
    "muEBIHBCzAxzrwrprnlknjjknqqnlknoorqihgijfeegjjjge9",
    "mvvxCAxAByyBAyyAAzzzywvwxyAyxxxxvvuwwwuvwwvuqnsplk",
    "nyCBByloziiiiijjjkklmpDBCquDCCBwkigfeeddccbbaaaaaa",
    "nDFHAqmnxGFFujfebb99876666565555555554444444444444",
    "nDGzACfb9876666788aclBErFAfBh654444444444444444444",
    "ouCDFDDDCCAAzyyywwvwwxwxxxwzvvxutsrrrrrqqqqqppppol",
    "ovEDIECBAzzzyDxwwuttwtrsstsssrrrrqpoonnljlmnkjjifc",
    "pnxyEIAECAGqzDowofdicufkirc67tb99h44g4444444444444",
    "prDFCBpjigfddbbbbabaaaabaaaabbbbbbccddefgkzsBqAlji",
    "qxExvtCytsqpoonnooyCslkjjiihhhgggfghijlpCCnljjiihh",
    "sDEFJxEtszyouznkozpirrfnkkhvinklkcbdfffc9ab9789875",
    "tyCECyABFDBAzBCCCCBBBBtnmikkihfcefbddfdba988887666",
    "tyFBspopwFznmiigfddcba8877776677798888889atvcdgkBB",
    "tAFFFIxBylwzqinxoggktjindnggqdtnfjbb9cde88a8888765",
    "uBCGDEHwrFDouyssumnqknemnhninigllebbfdbaa999999876",
    "uCDEEDCAAABBBBzzyyxyxxwvvwwvwwwwvtsrrtrrponnkjkkhd",
    "vyCDCDDCCDCBBBAzzzzyzyyxwwvvvvttttsssrpnkf98889888",
    "vCEEEDBzzABAAAyzzyyxxwwvxywwwwwwvvttttttrqppnnonkh",
    "vDFGFEEAABzxwwutststtrrqrsrtrrrsqoonnnnnlkjjghihfc",
    "wwwwwxwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww",
    "xCDEEEBzACBBCBBBzyxyxwvuvwvvwvvutqqpoqpommllihihfc",
    "xDDDCCAzABCBBAyzyyxxyvuuvwvwwwwxxwvusuturrprolligc",
    "xDFFGDDBBAzyyzwwvvuuuttttuuvssttsqrqqqqqoonnlllljf",
    "xEGHCCCAvEDDrpxulsourupjnlurmnjnjffdgecbbaaa9aaa87",
    "xFGGFFCCwAytsqusowpoqommnkmifffeecdcccccbbbbbbbba8",
    "zyyyyyyyyyyyyyyxyyyyyyxxxxyxyyxxxxxwxxxwwvuutsrpmg",
    "zFHGEDBABzxwxxutuuvtssqqsrrponnmmlllkgca7544444444",
    "BGIFECCAropslolnhkeekecdbbbcbaa9999999999999999988",
    "BGIGDBzxwvusrqqqpqppoommnnmmlkjjihhihda86444444444",
    "DDCDECCEDAAzAzzAyyAByAxwuuuqponnmlllkkkjjjjiiiiihf",
    "DDEFEECCDDEyvwxwuxuwvuxvrqsqqqoopmklnkjhebabab9887",
    "DECCEDCCBBAAyzAAxyzzyzxxxwwtsrrqpppoonnnnonlmnnmlj",
    "DEDCCCBAAAzzzzzyxxwxwwvvuuuvtutttststtssttutuuusrp",
    "DEFGEEDBACBBxxwvtwsttsononosmnlllkkijjihfffgffgfdc",
    "DHDCEAyyvtsFBrrssttsnrjiiikDrgexkcre8teano8kh5dd47",
    "EnnprEBCtCuDGGFDsomlkihgfffccbabaa898c88899bgwc877",
    "EtuAsCGvpqpuEECroswDAppqoppnrqwxwuxywwtroj85655544",
    "EvyACCAADCBCAAAyBBAzxxwyxvxvxwvwvttuuuuto644654454",
    "EGFFEECBDCywuurqoonmllkkijiiijjkjijhiecbabca9aba96",
    "EGFFFDCACAxutsqponmmlljkjkkkklkklkjkligedbba9aaa86",
    "EGFGFDBzDAxwutprponmnlkkjjijjiijiijiifedddddbbccb9",
    "EHHFFBDxwvssqqpqpnnsoohhgfifegccbaba98665555555544",
    "FvwyCDAyBBBCBzyyAzAzyzwwwuyuwvvyvwwtwttspmi6564445",
    "FvwzCBBAAzDBByCBDCywyxwxyxyxxyuvvrqrrrqh659ba55444",
    "FvxACDAzDBBCBBzzCBzxxxxwwtywwuuwuvutvsssok54564444",
    "FvACEDDBDCACCBAzCyAzzxuutstrqqprqpqqrqpmi644444444",
    "FDqGBvuusFIttturqmrsrrjjjoiikihgfeeeccbbba99888766",
    "FEFFGDDAACzwuvtrsnornmlklmmllmklmmlkljjighfedddcb8",
    "FGCBAAzCzyyzzyyxxyzByxwvwwuutsqqopqqswuttrrsqponmk",
    "FGECDBzzzAzzyyyxxxxyxvvuuuuuttsrrrqrrsrrrrsqqpppon",
    "FHEFECCBCBxwusrqnnmmkkjihihhgfhiihihhdba9ab989a986",
    "FIxxCxjDywzozyAuwxyyxuwtuvsuvqpnnmrsovsssrqrpoollj",
    "FIEEDCBzCAxvssqpmmlkjjhhggffeefhgfhffb987897778875",
    "GussvDIwprqwGDsnpqwxlmvmmptijljmnknnmjc54774584446",
    "GvvyCCAxAAABAAxvBBAxxAxywuyvvvvzvxvuvstspmghic8544",
    "GvvACCAyAAACCzxwzxyyxyywwxxtvwuxuwvuvttuqng5gid545",
    "GwyzAzzAAAzzyywyzAwxvxvvvswutvvxzwwxyxvwvsnmoomh54",
    "GzCDEECDCBBAAyxwBxywwutusqrrqpppppqpoopmkha5665655",
    "HwACDCBzCBBzAzyxByzwxxwxvtvuuuuututssrrqoi55gg54a5",
    "HCEEEEABzAABAwwxywyxuttrrrvutsprqnoonmmmlggddgfe98",
    "HEEGDCCCAwsrrsrqopptqonmmmkkjhhhffgggjihhgffeedcba",
    "HGCBAzyBzyxyyxxxxxyAxwvuvwutsrppnoppqustsqqqponmki",
    "IxyBCzzvzCCCxAuuvtuvvvtuuwutrstvuuuvsssrpljhiihfge",
    "IGBAzyyAywxxxwwwvvyywvutvvtssqoomnoppursrppponmljh",
    "IIFxtnlhgeedcaaa8888876766555555555555556555555555",
    "JFzyyxxzwvwwwvvuvvxyvutsttrrqpnnlmnnosqqqooonmlkjg",
    "KxxCwrrqtpptrppnppopopoonnnmnmmmmxnlkkljihige655a9",
    "Kywwwzwttvxwwvuqsrtsrsqpqqppppqoooonnnmklkkihihcd8",
    "KBvtusqtrqqrpppppprspponoonlmkjihiijknllljjjihgedc",
    "KDyxvuuwtstttsssssuvsrrqqrooomlkjkkkmqnnnlmlkjihge",
    "KFzBywvywvuvvuvuuuvwutsrtsqppomlklmmnrpppnnnmlkihg",
)


@cache
def band_of() -> tuple[int, ...]:
    """Return each coefficient's band."""
    return tuple(int(band) for band in np.repeat(np.arange(BAND_COUNT), BAND_WIDTHS))


@cache
def class_exponents() -> np.ndarray:
    """Return int64 [128, 50], each from 4 to 48."""
    return np.array([[DIGITS.index(digit) for digit in line] for line in TABLE])


def exponent_lines(exponents: np.ndarray) -> list[str]:
    """Return the table's lines for int [128, 50]."""
    return ["".join(DIGITS[min(max(int(e), SMALLEST), LARGEST)] for e in row) for row in exponents]
