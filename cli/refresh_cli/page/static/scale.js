// A scale of time: positions in per cent, and ticks at full minutes, hours and days of the viewer's time zone.

import { clock, clockSeconds, day } from './format.js';

const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const STEPS = [1, 2, 5, 10, 15, 30].map((count) => count * SECOND)
  .concat([1, 2, 5, 10, 15, 30].map((count) => count * MINUTE))
  .concat([1, 2, 3, 6, 12].map((count) => count * HOUR), [DAY, 2 * DAY, 7 * DAY]);

export const percent = (at, from, to) => ((at - from) / (to - from)) * 100;

/** Style of a part of a track from `begin` to `end`; null if it is outside. */
export function place(begin, end, from, to) {
  const left = Math.max(begin, from), right = Math.min(end, to);
  if (right < from || left > to) return null;
  return { left: `${percent(left, from, to)}%`, width: `${Math.max(0, percent(right, from, to) - percent(left, from, to))}%` };
}

/** The classes of a label at `at`: at the ends, it is beside its tick. */
export function labelClass(at, from, to) {
  const share = percent(at, from, to);
  return `tick-label ${share > 95 ? 'at-end' : share < 5 ? 'at-start' : ''}`;
}

/** Ticks on a track of `width` pixels, so far apart that no label touches the next: `{at, label, isDay}`. */
export function ticks(from, to, width) {
  const step = STEPS.find((size) => ((to - from) / size) * (size < MINUTE ? 96 : 72) <= width) ?? 14 * DAY;
  const found = [];
  // Full steps of local time: the offset of the zone is read at each day, because clocks change.
  for (let midnight = new Date(from).setHours(0, 0, 0, 0); midnight <= to; midnight = nextDay(midnight)) {
    const end = Math.min(nextDay(midnight) - 1, to);
    for (let at = midnight; at <= end; at += step) {
      if (at >= from) found.push({ at, isDay: at === midnight, label: label(at, midnight, step) });
      if (step >= DAY) break;
    }
    if (step > DAY) midnight += step - DAY;
  }
  return found;
}

const nextDay = (midnight) => new Date(midnight + 36 * HOUR).setHours(0, 0, 0, 0);
const label = (at, midnight, step) => (at === midnight ? day(at) : step < MINUTE ? clockSeconds(at) : clock(at));
