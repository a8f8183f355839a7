// Times, durations and numbers as text. Times are milliseconds since 1970 or ISO 8601 texts.

const LOCALE = 'en-GB';
const DAY = 86_400_000;
const formats = {
  time: new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit' }),
  seconds: new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit', second: '2-digit' }),
  weekday: new Intl.DateTimeFormat(LOCALE, { weekday: 'short' }),
  day: new Intl.DateTimeFormat(LOCALE, { weekday: 'short', day: 'numeric', month: 'short' }),
  full: new Intl.DateTimeFormat(LOCALE, { dateStyle: 'full', timeStyle: 'long' }),
};

export const toMs = (value) =>
  value === null || value === undefined ? null : typeof value === 'number' ? value : Date.parse(value);

export const clock = (value) => formats.time.format(toMs(value));
export const clockSeconds = (value) => formats.seconds.format(toMs(value));
/** The zone of the viewer, such as “Europe/Berlin”: all times are shown in it. */
export const zone = () => formats.time.resolvedOptions().timeZone;

/** “04:00 Europe/Berlin”: a time in the zone of a definition; '' if the clock shows the same there, or if the zone is not known. */
export function inZone(value, name) {
  if (!name) return '';
  try {
    const there = new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit', timeZone: name }).format(toMs(value));
    return there === clock(value) ? '' : `${there} ${name}`;
  } catch (error) {
    if (error instanceof RangeError) return '';
    throw error;
  }
}

export const day = (value) => formats.day.format(toMs(value)).replace(',', '');
export const full = (value) => formats.full.format(toMs(value));

const midnight = (at) => new Date(at).setHours(0, 0, 0, 0);

export const isSameDay = (a, b) => midnight(toMs(a)) === midnight(toMs(b));

/** “14:05” today, “yesterday 14:05”, “Mon 14:05” in the week around today, “Mon 23 Nov 14:05” on other days. */
export function when(value, now = Date.now(), { seconds = false } = {}) {
  const at = toMs(value);
  const days = Math.round((midnight(at) - midnight(now)) / DAY);
  const names = { 0: '', '-1': 'yesterday ', 1: 'tomorrow ' };
  const name = names[days] ?? `${Math.abs(days) < 6 ? formats.weekday.format(at) : day(at)} `;
  return `${name}${seconds ? clockSeconds(at) : clock(at)}`;
}

/** “42 s”, “12 min 4 s”, “1 h 20 min”, “3 d 4 h”: at most two units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return '–';
  const total = Math.max(0, Math.round(seconds));
  const units = [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => total >= size);
  if (first < 0) return '0 s';
  const [name, size] = units[first];
  const text = `${Math.floor(total / size)} ${name}`;
  const next = units[first + 1];
  const rest = next ? Math.floor((total % size) / next[1]) : 0;
  return rest ? `${text} ${rest} ${next[0]}` : text;
}

/** As `duration`, without seconds from ten minutes on. */
export function brief(seconds) {
  return seconds >= 600 && seconds < 3600 ? duration(Math.round(seconds / 60) * 60) : duration(seconds);
}

/** One unit: “4 min”. */
export function roughly(seconds) {
  return duration(seconds).split(' ').slice(0, 2).join(' ');
}

/** “4 min ago”, “in 3 h”, “now”. */
export function relative(value, now = Date.now()) {
  const seconds = (toMs(value) - now) / 1000;
  if (Math.abs(seconds) < 1.5) return 'now';
  const text = roughly(Math.abs(seconds));
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
export const number = (value) => value.toLocaleString(LOCALE);
