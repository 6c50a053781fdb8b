// Tones. Bursts follow IEC 60601-1-8 in spirit: three pulses for medium, five for high, repeated sooner as
// an unclaimed incident grows older. The lost link has a sound of its own, falling, so that it is not taken for either.
let context = null;

export function unlock() {
  context ??= new AudioContext();
  return context.resume();
}

export function audible() { return context?.state === "running"; }

function pulse(at, hz, seconds, gain, toHz = hz) {
  const tone = context.createOscillator();
  const level = context.createGain();
  tone.type = "triangle";
  tone.frequency.setValueAtTime(hz, at);
  tone.frequency.linearRampToValueAtTime(toHz, at + seconds);
  level.gain.setValueAtTime(0, at);
  level.gain.linearRampToValueAtTime(gain, at + 0.02);
  level.gain.setValueAtTime(gain, at + seconds - 0.04);
  level.gain.linearRampToValueAtTime(0, at + seconds);
  tone.connect(level).connect(context.destination);
  tone.start(at);
  tone.stop(at + seconds);
}

// 0 = silent .. 4 = oldest and gravest.
export function level(priority, ageS) {
  if (priority === "high") return ageS < 20 ? 2 : ageS < 60 ? 3 : 4;
  if (priority === "medium") return ageS < 60 ? 1 : ageS < 180 ? 2 : 3;
  return 0;
}

const REPEAT_S = [0, 12, 7, 4, 2.5];
const GAIN = [0, 0.12, 0.2, 0.32, 0.45];
let last = -Infinity;

export function alarm(urgency) {
  if (!urgency || !audible() || context.currentTime - last < REPEAT_S[urgency]) return false;
  last = context.currentTime;
  const high = urgency >= 2;
  const steps = high ? [0, 0.16, 0.32, 0.56, 0.72] : [0, 0.28, 0.56];
  const base = 560 + 110 * urgency;
  steps.forEach((step, i) => pulse(last + 0.02 + step, base * (i % 2 ? 1.25 : 1), high ? 0.12 : 0.2, GAIN[urgency]));
  return true;
}

let lastLost = -Infinity;
export function lostTone() {
  if (!audible() || context.currentTime - lastLost < 1.9) return false;
  lastLost = context.currentTime;
  pulse(lastLost + 0.02, 900, 0.55, 0.5, 420);
  pulse(lastLost + 0.7, 900, 0.55, 0.5, 420);
  return true;
}
