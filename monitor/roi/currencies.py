"""Currencies in use (ISO 4217, list one of 2026, without funds, metals and test codes)."""

from __future__ import annotations

CODES = frozenset(
    """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS
    INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP
    MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND
    VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG""".split()  # noqa: SIM905 - easier to read
)
CALLED = {
    "YEN": "JPY",
    "円": "JPY",
    "¥": "JPY",
    "RMB": "CNY",
    "YUAN": "CNY",
    "$": "USD",
    "€": "EUR",
    "EURO": "EUR",
    "£": "GBP",
}


def check_currency(text: str) -> str:
    """The code. Raises ValueError, with the code that was probably meant, for anything that is none."""
    if text in CODES:
        return text
    meant = CALLED.get(text.upper(), text.upper())
    hint = f"write {meant}" if meant in CODES else "write one such as JPY, USD or EUR"
    raise ValueError(f"no currency of ISO 4217 that is in use; {hint}")
