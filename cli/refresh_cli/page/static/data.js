// What the views load from the API, put together from its pages.

import { get } from './api.js';
import { toMs } from './format.js';

const RUNS = 500, DELIVERIES = 100;
const MAX_PAGES = 12, AT_ONCE = 6;

/** Return the entry of a name that others have chosen: every object has a `constructor`, which is no entry. */
export function entry(object, name) {
  return object && Object.hasOwn(object, name) ? object[name] : undefined;
}

/** All pipelines with details, by name. `runs`: how many of their last runs. */
export async function loadPipelines(runs = 30) {
  const details = [];
  let after = '';
  do {
    const page = await get('/api/pipelines', { runs, after });
    const known = new Map((page.details ?? []).map((one) => [one.pipeline, one]));
    for (const name of page.pipelines) {
      details.push(known.get(name) ?? { pipeline: name, runs: [], freshness: entry(page.freshness, name) ?? null });
    }
    after = page.next;
  } while (after);
  return details;
}

/** Runs that were created since `since` (ms), newest first. `isComplete`: whether these are all. */
export async function loadRunsSince(since, until) {
  const runs = [];
  let before = '';
  for (let number = 0; number < MAX_PAGES; number += 1) {
    const page = await get('/api/runs', { limit: RUNS, before, since: new Date(since).toISOString(), until: new Date(until).toISOString() });
    runs.push(...page.runs);
    before = page.before;
    if (!before || (page.runs.length && toMs(page.runs.at(-1).created_at) < since)) return { runs, isComplete: true };
  }
  return { runs, isComplete: false };
}

/**
 * Deliveries of sources, newest first: `{deliveries, hasMore}`. Of each source, pages are read while `goOn(page, number)`.
 * Where a source has more, nothing older than what was read of it is shown, so that the list has no gaps.
 */
export async function loadDeliveries(sources, size, goOn) {
  const parts = await readDeliveries(sources, size, goOn);
  const oldest = parts.filter((part) => part.before && part.found.length).map((part) => part.found.at(-1).received_at);
  const horizon = oldest.sort().at(-1) ?? '';
  const deliveries = parts.flatMap((part) => part.found).filter((one) => one.received_at >= horizon);
  deliveries.sort((a, b) => (a.received_at < b.received_at ? 1 : -1));
  return { deliveries, hasMore: parts.some((part) => part.before) };
}

/** For each source, what was `found`, newest first, and the position `before` which it has more. */
function readDeliveries(sources, size, goOn) {
  return each(sources, async (source) => {
    const found = [];
    let before = '';
    for (let number = 1; ; number += 1) {
      const page = await get('/api/deliveries', { limit: size, before, source });
      found.push(...page.deliveries);
      before = page.before;
      if (!before || !goOn(page.deliveries, number)) return { found, before };
    }
  });
}

/** Deliveries of all sources since `since` (ms). `knownSince`: from when on these are all; a busy source may have too many. */
export async function loadDeliveriesSince(since) {
  const sources = await loadSources();
  const isNewer = (page, number) => number < MAX_PAGES && (!page.length || toMs(page.at(-1).received_at) >= since);
  const parts = await readDeliveries(sources, DELIVERIES, isNewer);
  const cuts = parts.filter((part) => part.before).map((part) => toMs(part.found.at(-1)?.received_at) ?? Date.now());
  return { deliveries: parts.flatMap((part) => part.found), knownSince: Math.max(since, ...cuts) };
}

/** Results of `load` for each value, a few at a time. */
async function each(values, load) {
  const results = [];
  for (let first = 0; first < values.length; first += AT_ONCE) {
    results.push(...(await Promise.all(values.slice(first, first + AT_ONCE).map(load))));
  }
  return results;
}

/** All names of sources. */
export async function loadSources() {
  const names = [];
  let after = '';
  do {
    const page = await get('/api/sources', { after });
    names.push(...page.sources);
    after = page.next;
  } while (after);
  return names;
}

/** The schedules of the stack by pipeline; none if the viewer may not read them. */
export async function loadSchedules() {
  const { schedules } = await get('/aws/schedules');
  const byPipeline = Object.create(null);
  for (const one of schedules) (byPipeline[one.pipeline] ??= []).push(one);
  return byPipeline;
}

/** The enabled schedule that fires next, or undefined. */
export function nextSchedule(schedules = [], now = Date.now()) {
  const coming = schedules
    .filter((one) => one.enabled)
    .map((one) => ({ ...one, at: (one.next ?? []).map(toMs).find((at) => at > now) }))
    .filter((one) => one.at);
  return coming.sort((a, b) => a.at - b.at)[0];
}
