"""The table of vital signs: one row a sign, with its codes and its plausible range."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One vital sign: its name on the wire, its codes, and the range outside which a value is dropped."""

    name: str
    loinc: str | None
    ucum: str
    low: float
    high: float
    zero_means_no_signal: bool = False
    """True where devices post 0 for "nothing found": kept although below ``low``, for detection to judge."""
    unit_mistakes: tuple[tuple[str, float, float], ...] = ()
    """(unit, low, high): an implausible value that fits this unit; named in the detail, never converted."""

    def accepts(self, value: float) -> bool:
        """Whether the value is plausible; NaN is not."""
        return self.low <= value <= self.high or (self.zero_means_no_signal and value == 0)

    def complaint(self, value: float) -> str:
        """Say what was wrong with an implausible value and what to do about it."""
        said = f"{self.name} must be within {self.low:g} to {self.high:g} {self.ucum}, was {value:g}"
        for unit, low, high in self.unit_mistakes:
            if low <= value <= high:
                return f"{said}; it looks like {unit}: send {self.ucum}"
        return said


# Codes: LOINC and UCUM as in HL7 FHIR R4 vital signs and KR Core 2.0.0 (glucose and steps: LOINC.org names,
# not in that profile). Ranges are *policy*: wide enough that no value of a living person falls outside, and,
# where a common unit mistake exists, narrow enough that its values do. Zeros of heart rate, pulse, breathing
# and SpO2 are kept on purpose: 0 may be a lost electrode or a lost pulse, and dropping it would hide both.
COLUMNS: tuple[Column, ...] = (
    Column("heart_rate_bpm", "8867-4", "/min", 0, 300),
    Column("pulse_rate_bpm", "8867-4", "/min", 0, 300),
    Column("spo2_pct", "59408-5", "%", 20, 100, True, (("a fraction", 0.2, 1.0),)),
    Column("respiratory_rate_bpm", "9279-1", "/min", 0, 120),
    # 25: below the deepest stage of accidental hypothermia that a conscious wearer reaches (policy).
    Column("temperature_c", "8310-5", "Cel", 25, 45, unit_mistakes=(("degrees Fahrenheit", 77, 113),)),
    Column("skin_temperature_c", None, "Cel", 5, 45, unit_mistakes=(("degrees Fahrenheit", 60, 113),)),
    # 45 mmHg is 6 kPa, and no systolic pressure in kPa exceeds 40: the units cannot be taken for each other.
    Column("systolic_mmhg", "8480-6", "mm[Hg]", 45, 300, unit_mistakes=(("kPa", 6, 40),)),
    Column("diastolic_mmhg", "8462-4", "mm[Hg]", 25, 200, unit_mistakes=(("kPa", 3.3, 25),)),
    # Home meters display 20-600 mg/dL; 20 mmol/L and more cannot be told from mg/dL and are kept as posted.
    Column("glucose_mgdl", "2339-0", "mg/dL", 20, 1000, unit_mistakes=(("mmol/L", 1, 20),)),
    Column("weight_kg", "29463-7", "kg", 15, 350),
    Column("steps", "55423-8", "{steps}", 0, 100_000),
    Column("worn", None, "1", 0, 1),
    Column("battery_pct", None, "%", 0, 100),
)

INDEX: dict[str, int] = {column.name: i for i, column in enumerate(COLUMNS)}
