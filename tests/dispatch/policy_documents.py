"""Every document that can hold, for the tests that try all of them."""

from __future__ import annotations

from hypothesis import strategies as st

from dispatch.policies import FIELDS, PolicyError, parse


def written(numbers: dict[str, int], title: str = "any") -> str:
    """A document that says just this."""
    lines = [f'title = "{title}"']
    for section in dict.fromkeys(field.section for field in FIELDS):
        own = [field for field in FIELDS if field.section == section and field.name in numbers]
        lines += [f"[{section}]", *(f"{field.key} = {numbers[field.name]}" for field in own)] if own else []
    return "\n".join(lines) + "\n"


def holds(text: str) -> bool:
    try:
        parse(text)
    except PolicyError:
        return False
    return True


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid documents, the ends of every range among them; numbers that must fit one another are drawn to."""
    numbers = {
        field.name: draw(st.sampled_from([field.low, field.high, field.default]) | st.integers(field.low, field.high))
        for field in FIELDS
    }
    ring = numbers["contacts.ring_s"]
    step = draw(st.integers(max(25, ring + 10), 90))
    numbers["contacts.step_s"] = step
    numbers["contacts.rounds"] = draw(st.integers(1, min(5, 300 // step)))
    attempt = draw(st.integers(max(25, ring + 10), 90))
    numbers["ask.attempt_s"] = attempt
    numbers["ask.attempts"] = draw(st.integers(1, min(4, (180 - ring) // attempt + 1)))
    overlap = numbers["ask.overlap_s"]
    least = max(25, overlap + 1, (numbers["ask.attempts"] - 1) * attempt + ring)
    numbers["ask.budget_s"] = draw(st.integers(least, 180))
    left_out = draw(st.sets(st.sampled_from(["desk.step_s", "hold.claim_s", "settle.fresh_s", "handover.answer_s"])))
    return written({name: value for name, value in numbers.items() if name not in left_out})
