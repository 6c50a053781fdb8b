"""SHA-256 of each shipped model; written by ``ansim fit``."""

PINS: dict[str, str] = {
    "absence": "30a8fc3c8e8f4231c3364c483a47923891411fda4f35ea3b6106a65b9cf35963",
    "af": "d6adc97db601222a9e0b08b1ec468c70ff6ace70d7914788d70fe68e32ba0674",
    "alarm_truth": "550c783e2741945010b9ca18f3f4946c2842b83d2e9b36350e213588d1276431",
    "baseline": "84f050af47cd5d3ceef1df60602679f85ea8d94b615a09c7cdd0e606378c4213",
    "early_warning": "61a3168bf78cd21cb69b3a81ea11f39d7ac26844fe153c82ff147003a0a6514e",
    "fall_waist": "b4d4245a7a4fae91dd2359b1a86e5e767581843324387f4fa8799f73f0f1397b",
    "fall_wrist": "29cd20f9cd68260255cffe11a8d54944f346bb1c09442c9dca7c7571f16e5270",
    "home_vitals": "f7bf49b558311af70bc5d8b47dbcfeb7d7aaf78a63e26ac27277979d60708a90",
}
