"""The 64 kinds of spectra that `sound-mdct` tells apart: the variance in each of 50 bands.

The spectra are of steps of 20 ms, brought to a mean square of 1. A line of the table is a class, a character
a band: character number e of `DIGITS` says that the variance of the band's coefficients is 2^((e - 32) / 2).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from encoders.lapped_transform import STEP

CLASS_COUNT = 64
CLASS_BITS = 6
ZERO = 32
SMALLEST, LARGEST = 4, 48
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

BAND_EDGES = (*range(0, 40, 2), *range(40, 80, 4), *range(80, 160, 8), *range(160, STEP + 1, 16))
"""Bands of 50 Hz up to 1 kHz, 100 Hz up to 2 kHz, 200 Hz up to 4 kHz, 400 Hz up to 8 kHz."""
BAND_WIDTHS = np.diff(BAND_EDGES)
BAND_COUNT = len(BAND_WIDTHS)

TABLE: tuple[str, ...] = (
    "dikklmmnnnpqwCDvwsxuyvyABCDCyxyCutspprnje544444444",
    "ekhuzACvxEEAEEEAuzAwtwvnswrrvwxuuuwwxvsttpljfbgdaa",
    "epstAzvyxxyzzyyyAEAyxAwwwyABzAyyvuvxxvtvvtrpnmolih",
    "hpzABBAzusrrstttsqpooonooqqropsrtyvvzyzAyxvuvvvwws",
    "iprrsssstttuxBAyyxyyzxwzABBBAAzzyAxvwwroj744444444",
    "itACFFDDADBEBAAAwxyAzustsqoqoopsssrqmkkjihgggghgfc",
    "jpxxBAzzxxyyzyyxzzzxvwuwvwxwwxyxwxwvwwwywwvwuvuusp",
    "jvwyCCxBAvxCCyyBCAxzzxvuvyAyxxvutsstsssuvywuqpspih",
    "lvwxCAxzAxyAAyyzAzzzywvvxxByyyxxwwuwxwvvvwuuqorpmk",
    "lwCEHFGExyvusrqqqooopomnmpstqqtxxtpnnmqpmlklklnmlj",
    "mqADEHHEBollgfjypghwpvil67m76n74444444444444444444",
    "mtFzIHACzBwArwsprnkjniikoqqnmjmkmqqhefghddegjjjhf8",
    "nyADFEDBCCCCBAAzxyxyxwyxwwuvsssurqqqponmonlllllmki",
    "omxyEIzDBDFoxCnumcagbrfrrpb56raj8g44f4444444444444",
    "ouCDFDDDCCAAzyyywwvwwxwxxxwzvvwutsrrrrrqqqqqppppol",
    "oxDEIECAABAzACxwvuttvtssstttsrssrqpoonnljllmkiihfb",
    "tAFFFIxBylwzqinxoggktjindnggqdtnfjbb9cde88a8888765",
    "uACHDDHwqECouysstmnqjnemnhnhnhgkkdbaedbaa999999876",
    "uDGGFDCxuEDBsvxunwouruolomutloknmgffiffdbbbbaaaa87",
    "uFHEFGBxutxsoqmoiljglhcefecddcba99a999999999999986",
    "vzCDCDDCCDCBBBAzzzzyyyyxwwvvuuttttsssrpnkf98889888",
    "vBDEDDBAABCBBBzAyyxyxxwvwxwwwwwxvutsrtsrqpnoljkjhd",
    "vCEEECBzzAAAAAyzzyyxxwwvxxwwvxwwwvttttutrqppnnonkh",
    "wDEFGDCBzAzzzByxwvvvwvttuvuuttttsrrqqqqqoonnlllkie",
    "xBDFCzzDFECDzBBzzxzyAxtnnjnljjgdegceegebaa89987665",
    "xCDEEEBzACBCBBAAyyxyxwvvvwwwwvuvtrrqpqqommllihiifc",
    "zsDwJFADwBssqrnkkjghjgfgghhhhjlmoqmfcdefbbbbefec95",
    "AFHGEDDzByxvxxtttuttsrqqrrqponnmlkllkgc97554444444",
    "AGGGGADyuyyusvrqpxrrrqnnnjlsjjhkgcbcccaaba99998986",
    "BGIGDBzywvtsrqqrqqqqpommmmmlkkjjhhhhhda75444444444",
    "DCCCCBAyzBCAAAyzyyxxyvuuuvvvvwwxyxwvvwuvtrpqommifc",
    "DDADEACECAAyzzzAyAAAzAyxvvwqpoonnmmmlkkkkkkijkkjif",
    "DEFGGDDABDCwvvsqsnoqnmllkmllmmmnnmmkljjigheeddccb8",
    "DFDCDBBAAAAzyAzzxxxxxwvvuvvvtutttttttuttututstssro",
    "DGFFGECACzxwtsqrnonlmlkjjkjjiiiiihjghedccddccbcba8",
    "DHDCEAyywtsFBrrsstssmskiiikDrheykcre8teano8kh5dd47",
    "EtutuCGxrqpuEEBsqswEAqproptorwwywuvwwutroi74554444",
    "EvyACCAADCBCAzAyBBAywxwyxwywxwvwwttutttso644554454",
    "EyDDEDDADBAACBByBzyxvvvuvtvsssrrqppppnmjd644444444",
    "EEFFFEDAzCBAwwvvuvsttsropoqsoonmnkkjkkjigfhgeghgdb",
    "EGFGECCADAwutsqponmmkljkijjjkkkkkjjklifedcba99aa97",
    "EHHFEAzwywtsqqponmmmkiggffefddddccdcb8766565556554",
    "FuzAEDBCADCDCAxACxBAAyutrprpooorqpqqssrpk744444554",
    "FvxzDDAzDBBCBAzzCBzxxxxwwtywwuuwtvutvsssok75454444",
    "FDqGBvuusFIstturqmrtrrjjjoiikihgfeeeccbbba99888766",
    "FDGGEDBDyBystsvsrxotqpmkllmhhigggefefhfffeeedddcba",
    "FGECECAAABzyyyzzxxyxxxwwvvvtttrrrqqqqqqqpqrppooonl",
    "FHEFDCCzCAxvtsqpmmlljjiighgfeeghhghfgba88998789875",
    "FHEFEDCBDBywutrqnnnmlljjiiihhhijjhjhhecaaaba9aaa96",
    "GvvzCCzxBABBBAwxBAyyyzxywuyuwvvyvxvuvttspmifga5445",
    "GvvBCxDDBDCyBBBBBDwwzwwxwuursrrusoqqqrqj858ffd4444",
    "GwxzBCAzAAABAzwwAzyxwzwvvtyvwwvyvxwwwvuvtqjhjkhb55",
    "GwzBDDCzCBCBBzyxByzxyxwxxswuuuuvtvtsusrtok55gg6444",
    "GxBDEECCCCAAxxAwAwAwutstsprqqprrppqppooljhd8776656",
    "GGCBAAzCzyyzzyyxxyzByxwvwwuutsqqppqqswuttsssqponmk",
    "HDFFEDDzzyyxvvtttsttssqpqrqqpqqqpopoooonmlkjiiihge",
    "HGBBAzyBzyxxyxxxxxyAxwvuvvttsrppnoppqustsqqqponmki",
    "HIFEAtomkkiigfdeccab988876766666555555545444444444",
    "IBACCCAyyBzAAwwxyxzvuvxttxvuutsusqrqqpqonjf9chfbd7",
    "JGAAyyxAywwxxwwvvvxyvvutuusrrqonmnnoptrrrppponmkjh",
    "KyzwutrquqrtqpqopopppAonnnnnnmmmmmmlkkkiihigfe7569",
    "KAvturqtrqqqppopppqrpponoomllljjjjjjkmlkkjijhhffdb",
    "KCyxvuuwtststssssruvsrrpqroonmkjjjkklqnnnlllkjihfe",
    "KFzzxwvywvvvvuvuuuwwuttrtsqqpommklmnnrpqpnnomlkjig",
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
