// Numbers, money and times as people read them.

/** @param {number | null | undefined} microusd */
export function money(microusd) {
  if (microusd === null || microusd === undefined) return "–";
  const usd = microusd / 1e6;
  const digits = usd !== 0 && usd < 0.1 ? 3 : 2;
  return `$${usd.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** @param {number | null | undefined} value */
export function count(value) {
  return (value ?? 0).toLocaleString("en");
}

/**
 * "1 image", "2 images".
 * @param {number} number
 * @param {string} noun
 */
export function many(number, noun) {
  const plural = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : noun.endsWith("ch") ? `${noun}es` : `${noun}s`;
  return `${count(number)} ${number === 1 ? noun : plural}`;
}

/** @param {number} bytes */
export function bytes(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} KB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  if (whole < 172800) return `${Math.round(whole / 3600)} h`;
  return `${Math.round(whole / 86400)} days`;
}

/**
 * "5 min ago", "in 5 min".
 * @param {string} time
 */
export function ago(time) {
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  if (Math.abs(seconds) < 45) return seconds < 0 ? "in a moment" : "just now";
  if (Math.abs(seconds) > 7 * 86400) return day(time);
  if (seconds < 0) return `in ${duration(-seconds)}`;
  return seconds < 90 ? "1 min ago" : `${duration(seconds)} ago`;
}

/** @param {string} time */
export function day(time) {
  return new Date(time).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

/** @param {string} time */
export function clock(time) {
  const at = new Date(time);
  const isToday = at.toDateString() === new Date().toDateString();
  const hours = at.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
  return isToday ? hours : `${hours}, ${at.toLocaleDateString("en", { day: "numeric", month: "short" })}`;
}

/** @param {string} month */
export function monthName(month) {
  return new Date(`${month.slice(0, 7)}-15`).toLocaleDateString("en", { month: "short", year: "numeric" });
}
