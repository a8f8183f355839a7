// Timeline: the runs of all pipelines in a day or a week; triggers as marks.

import { html, pure, useCallback, useEffect, useMemo, useRef, useState } from '../html.js';
import { entry, loadDeliveriesSince, loadPipelines, loadRunsSince, loadSchedules } from '../data.js';
import { clock, day, duration, plural, toMs, when } from '../format.js';
import { useLive, useNow, useWidth } from '../live.js';
import { secondsOf } from '../parts/bars.js';
import { Button, Empty, Icon, Problem, Skeleton } from '../parts/basics.js';
import { RunTable } from '../parts/runs.js';
import { DAY, labelClass, percent, place, ticks } from '../scale.js';
import { RUN, isOpen } from '../status.js';

const HOUR = DAY / 24;
const SPANS = [['6 h', 6 * HOUR], ['Day', DAY], ['Week', 7 * DAY]];
const MIN_SPAN = 5 * 60_000, MAX_SPAN = 8 * DAY;
const AHEAD = 0.08;
/** Share of the width that is in the future. */
const MAX_NEXT = 20;
const MINUTE = 60_000;
const KEPT = 14 * DAY; // of deliveries: runs are kept for longer
const MAX_WAIT = DAY; // of a trigger, for a run that is not loaded

export function Timeline() {
  const now = useNow(5_000);
  const [view, setView] = useState({ span: DAY, end: null });
  const [search, setSearch] = useState('');
  const [asTable, setAsTable] = useState(false);
  const to = view.end ?? now + view.span * AHEAD;
  const from = to - view.span;
  const loadFrom = useLoadedFrom(from);
  const names = useLive('timeline pipelines', () => loadPipelines(0), () => 10_000);
  const schedules = useLive('schedules', loadSchedules, () => 60_000, { optional: true });
  const runs = useLive(`timeline ${loadFrom}`, useIncremental(loadFrom), () => 5_000, { keep: true });
  const isBusy = !(runs.data?.since <= loadFrom);
  const move = useCallback((factor, at = null, shift = 0) => setView((old) => moved(old, factor, at, shift)), []);
  const rows = useMemo(() => rowsOf(names.data, runs.data, search), [names.data, runs.data, search]);
  const visible = useMemo(() => (rows ?? []).map((row) => row.runs.filter((run) => overlaps(run, from, to, now)).reverse()), [rows, from, to, now]);
  const knownSince = Math.max(runs.data?.knownSince ?? 0, Math.ceil((now - KEPT) / MINUTE) * MINUTE);
  return html`
    <div class="heading"><h1 tabindex="-1">Timeline</h1><p class="muted summary number">${day(from)} ${clock(from)} – ${day(to)} ${clock(to)} · <span role="status">${rows && !isBusy ? plural(visible.flat().length, 'run') : runs.error || names.error ? 'not loaded' : 'Loading …'}</span></p></div>
    <div class="tools">
      <label class="search"><${Icon} name="search" /><span class="sr">Search pipelines</span><input type="search" placeholder="Search" value=${search} onInput=${(event) => setSearch(event.target.value)} /></label>
      <div class="chips" role="group" aria-label="Span">${SPANS.map(([label, span]) => html`<button type="button" class="chip" aria-pressed=${view.span === span} onClick=${() => setView({ span, end: null })}>${label}</button>`)}</div>
      <div class="button-group" role="group" aria-label="Move and zoom">
        <button type="button" class="icon-button" aria-label="Earlier" title="Earlier" onClick=${() => move(1, 0, -0.5)}><${Icon} name="left" /></button>
        <button type="button" class="icon-button" aria-label="Later" title="Later" onClick=${() => move(1, 0, 0.5)}><${Icon} name="right" /></button>
        <button type="button" class="icon-button" aria-label="Zoom in" title="Zoom in" onClick=${() => move(0.5)}><${Icon} name="plus" /></button>
        <button type="button" class="icon-button" aria-label="Zoom out" title="Zoom out" onClick=${() => move(2)}><${Icon} name="minus" /></button>
        <${Button} aria-disabled=${view.end === null} onClick=${() => setView({ ...view, end: null })}>Now<//></div>
      <label class="check"><input type="checkbox" checked=${asTable} onChange=${(event) => setAsTable(event.target.checked)} /> As a table</label>
    </div>
    ${(runs.error ?? names.error) && !runs.data && html`<${Problem} error=${runs.error ?? names.error} />`}
    ${!rows && !names.error && html`<${Skeleton} rows=${5} />`}
    <${Missing} runs=${runs.data && !runs.data.isComplete} before=${!isBusy && from < knownSince + MAX_WAIT ? knownSince : null} />
    ${rows && rows.length === 0 && html`<${Empty} title="No pipeline matches">Change the search.<//>`}
    ${rows && rows.length > 0 && (asTable
      ? html`<section class="panel" aria-busy=${isBusy}><${RunTable} runs=${visible.flat().sort(newestFirst)} withPipeline /></section>`
      : html`<${Chart} rows=${rows} visible=${visible} knownSince=${knownSince} from=${from} to=${to} now=${now} schedules=${schedules.data} busy=${isBusy} onMove=${move} />`)}`;
}

/** What the chart does not show. `runs`: whether some are missing; `before`: where deliveries are missing, or null. */
const Missing = pure(({ runs, before }) => (runs || before) && html`<p class="panel note">
  ${runs && 'There are too many runs in this span to show all: older ones are missing. The page of a pipeline lists its older runs. '}
  ${before && `Not all deliveries before ${when(before)} are known. Runs whose trigger is not known have no mark.`}</p>`);

/** Return from when runs are loaded: full days, so that small moves load nothing again. */
function useLoadedFrom(from) {
  const loaded = useRef(Infinity);
  const wanted = new Date(from).setHours(0, 0, 0, 0);
  if (wanted < loaded.current) loaded.current = wanted;
  return loaded.current;
}

/** Return a loader that loads everything once, and then only what may have changed. */
function useIncremental(since) {
  const cache = useRef(null);
  return async () => {
    const at = Date.now();
    if (cache.current?.since !== since) {
      const [{ runs, isComplete }, { deliveries, knownSince }] = await Promise.all([loadRunsSince(since, at + DAY), loadDeliveriesSince(since - MAX_WAIT)]);
      cache.current = { since, at, isComplete, knownSince, runs: new Map(runs.map((run) => [run.run_id, run])), deliveries: new Map(deliveries.map((one) => [keyOf(one), one])) };
    } else {
      const { runs, deliveries, at: last } = cache.current;
      const open = [...runs.values()].filter((run) => !run.ended_at).map((run) => toMs(run.created_at));
      const overlap = last - MINUTE;
      const changed = Math.min(overlap, ...open.map((created) => created - 1000));
      const [more, moreDeliveries] = await Promise.all([loadRunsSince(changed, at + DAY), loadDeliveriesSince(overlap)]);
      for (const run of more.runs) runs.set(run.run_id, run);
      for (const one of moreDeliveries.deliveries) deliveries.set(keyOf(one), one);
      if (moreDeliveries.knownSince > overlap) cache.current.knownSince = moreDeliveries.knownSince;
      cache.current.at = at;
    }
    const { runs, deliveries, isComplete, knownSince } = cache.current;
    const sorted = [...runs.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    return { runs: sorted, deliveries: [...deliveries.values()], isComplete, knownSince, since };
  };
}

const keyOf = (one) => `${one.source} ${one.delivery} ${one.received_at}`;

/** Return the view after a move by `shift` spans, or a zoom around `at` (0 left, 1 right; null: now, or the middle). */
function moved({ span, end }, factor, at, shift) {
  const size = Math.min(MAX_SPAN, Math.max(MIN_SPAN, span * factor));
  if (at === null && end === null) return { span: size, end };
  const to = end ?? Date.now() + span * AHEAD;
  const centre = to - span * (1 - (at ?? 0.5));
  const next = factor === 1 ? to + span * shift : centre + size * (1 - (at ?? 0.5));
  const latest = Date.now() + size * 0.5;
  return { span: size, end: Math.min(next, latest) };
}

function overlaps(run, from, to, now) {
  return toMs(run.created_at) <= to && (run.ended_at ? toMs(run.ended_at) : now) >= from;
}

const newestFirst = (a, b) => toMs(b.created_at) - toMs(a.created_at);

/** Return a pending run, which has no record yet, as a run that exists since its first trigger. */
function pendingRun({ pipeline, waiting }) {
  const triggered = (waiting.options?.reasons ?? []).map((one) => toMs(one.at));
  return { run_id: waiting.run_id, pipeline, status: 'WAITING', created_at: Math.min(...triggered, Date.now()) };
}

/** Return the rows with their runs, newest first. A pipeline may still name a run as pending that has begun since. */
function rowsOf(pipelines, data, search) {
  if (!pipelines || !data) return null;
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const created = new Map(data.runs.map((run) => [run.run_id, toMs(run.created_at)]));
  const pending = (one) => (one.waiting && !created.has(one.waiting.run_id) ? [pendingRun(one)] : []);
  const rows = new Map(pipelines.map((one) => [one.pipeline, { pipeline: one.pipeline, runs: pending(one), triggers: [] }]));
  for (const run of data.runs) {
    if (!rows.has(run.pipeline)) rows.set(run.pipeline, { pipeline: run.pipeline, runs: [], triggers: [] });
    rows.get(run.pipeline).runs.push(run);
  }
  for (const one of data.deliveries) {
    for (const run of one.runs ?? []) {
      rows.get(run.pipeline)?.triggers.push({ at: toMs(one.received_at), source: one.source, run: run.run_id, begins: created.get(run.run_id) ?? null });
    }
  }
  return [...rows.values()].filter((row) => words.every((word) => row.pipeline.toLowerCase().includes(word))).sort((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
}

/**
 * Return the runs of a row that a schedule or a person started: all deliveries that could have triggered them are known.
 * The triggers of a run arrive after the run before it was created, or it would cover them.
 */
function startedWithoutWebhook(row, knownSince) {
  const byWebhook = new Set(row.triggers.map((one) => one.run));
  return row.runs.filter((run, at) => {
    if (run.status === 'WAITING' || byWebhook.has(run.run_id)) return false;
    const last = row.runs[at + 1];
    return (last ? toMs(last.created_at) - MINUTE : toMs(run.created_at) - MAX_WAIT) >= knownSince;
  });
}

function Chart({ rows, visible, knownSince, from, to, now, schedules, busy, onMove }) {
  const chart = useRef();
  const drag = useRef(null);
  const width = useWidth(chart);
  const [focused, setFocused] = useState(null);
  useEffect(() => {
    const track = chart.current;
    const wheel = (event) => {
      if (!event.ctrlKey && !event.shiftKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
      event.preventDefault();
      const box = track.querySelector('.time-axis .track').getBoundingClientRect();
      if (event.ctrlKey) onMove(Math.exp(event.deltaY / 300), (event.clientX - box.left) / box.width);
      else onMove(1, 0, (event.deltaX || event.deltaY) / box.width);
    };
    track.addEventListener('wheel', wheel, { passive: false });
    return () => track.removeEventListener('wheel', wheel);
  }, []);
  const narrow = width < 620;
  const trackWidth = Math.max(200, width - (narrow ? 0 : 210));
  const marks = ticks(from, to, trackWidth);
  const shown = visible.flat();
  const firstId = shown.some((run) => run.run_id === focused) ? focused : visible.find((runs) => runs.length)?.at(-1).run_id;
  const pointer = {
    onPointerDown: (event) => { if (event.button === 0 && event.pointerType === 'mouse') drag.current = { x: event.clientX, moved: false }; },
    onPointerMove: (event) => {
      if (!drag.current) return;
      const by = event.clientX - drag.current.x;
      if (!drag.current.moved && Math.abs(by) < 4) return;
      drag.current = { x: event.clientX, moved: true };
      onMove(1, 0, -by / trackWidth);
    },
    onPointerUp: () => { const moved = drag.current?.moved; setTimeout(() => (drag.current = null)); return moved; },
    onPointerLeave: () => (drag.current = null),
    onDragStart: (event) => event.preventDefault(),
    onClickCapture: (event) => drag.current?.moved && (event.preventDefault(), event.stopPropagation()),
  };
  const keyed = (event) => {
    const target = nextRun(visible, firstId, event.key);
    if (event.key === '+' || event.key === '=') onMove(0.5);
    else if (event.key === '-') onMove(2);
    else if (!target) return;
    event.preventDefault();
    if (!target) return;
    setFocused(target);
    chart.current.querySelector(`[data-run="${target}"]`)?.focus();
  };
  return html`<div class=${`panel timeline ${narrow ? 'narrow' : ''} ${busy ? 'busy' : ''}`} aria-busy=${busy} ref=${chart} role="group" aria-label="Timeline of runs. Arrow keys go from run to run, plus and minus zoom." onKeyDown=${keyed} ...${pointer}>
    <div class="time-row time-axis" aria-hidden="true"><div class="time-name" /><div class="track">${marks.map((tick) => html`<span key=${tick.at} class=${`${labelClass(tick.at, from, to)} ${tick.isDay ? 'is-day' : ''}`} style=${{ left: `${percent(tick.at, from, to)}%` }}>${tick.label}</span>`)}</div></div>
    <div class="time-rows">
      <div class="time-grid" aria-hidden="true"><div class="time-name" /><div class="track">${marks.map((tick) => html`<span key=${tick.at} class=${`tick ${tick.isDay ? 'is-day' : ''}`} style=${{ left: `${percent(tick.at, from, to)}%` }} />`)}
        ${now >= from && now <= to && html`<span class="now-line" style=${{ left: `${percent(now, from, to)}%` }} />`}</div></div>
      ${rows.map((row) => html`<${Row} key=${row.pipeline} row=${row} from=${from} to=${to} knownSince=${knownSince} now=${isOpen(row.runs[0]?.status) ? now : 0} next=${entry(schedules, row.pipeline)} focused=${row.runs.some((run) => run.run_id === firstId) ? firstId : null} onFocus=${setFocused} />`)}
    </div>
    <ul class="legend">${[['tone-good', 'Succeeded'], ['tone-bad', 'Failed'], ['tone-stopped', 'Cancelled'], ['tone-running', 'Running'], ['tone-waiting', 'Pending']].map(([tone, label]) => html`<li key=${tone}><span class=${`key run-bar ${tone}`} />${label}</li>`)}
      <li><span class="key trigger-key" />Webhook</li><li><span class="key by-clock" />Schedule or by hand</li><li><span class="key wait-key" />Wait</li><li><span class="key next-key" />Next schedule</li><li><span class="key now-key" />Now</li></ul></div>`;
}

const Row = pure(({ row, from, to, knownSince, now, next = [], focused, onFocus }) => {
  const runs = row.runs.filter((run) => overlaps(run, from, to, now || Date.now()));
  const coming = next.filter((one) => one.enabled).flatMap((one) => one.next ?? []).map(toMs).filter((at) => at > Date.now() && at <= to).slice(0, MAX_NEXT);
  return html`<div class="time-row"><div class="time-name"><a href=${`#/pipelines/${row.pipeline}`}>${row.pipeline}</a></div><div class="track">
    ${startedWithoutWebhook(row, knownSince).map((run) => toMs(run.created_at) >= from && toMs(run.created_at) <= to && html`<span key=${`c${run.run_id}`} class="by-clock" style=${{ left: `${percent(toMs(run.created_at), from, to)}%` }} />`)}
    ${row.triggers.map((one, at) => one.at >= from && one.at <= to && html`<span key=${at} class="trigger" style=${{ left: `${percent(one.at, from, to)}%` }} title=${`${one.source}, ${when(one.at)}`} />`)}
    ${row.triggers.map((one, at) => one.begins !== null && one.begins - one.at > 3000 && place(one.at, one.begins, from, to) && html`<span key=${`w${at}`} class="wait-line" style=${place(one.at, one.begins, from, to)} />`)}
    ${runs.map((run) => {
      const is = RUN[run.status], end = run.ended_at ? toMs(run.ended_at) : now || Date.now();
      const label = run.status === 'WAITING' ? `${run.pipeline}: Pending since ${when(run.created_at)}` : `${run.pipeline}: ${is.label}, ${when(run.created_at)}, ${duration(secondsOf(run, end))}${run.error ? `, ${run.error}` : ''}`;
      return html`<a key=${run.run_id} class=${`run-bar tone-${is.tone}`} href=${`#/runs/${run.run_id}`} data-run=${run.run_id} tabindex=${focused === run.run_id ? 0 : -1} onFocus=${() => onFocus(run.run_id)} style=${place(toMs(run.created_at), end, from, to)} aria-label=${label} title=${label} />`;
    })}
    ${coming.map((at) => html`<span key=${at} class="next-mark" style=${{ left: `${percent(at, from, to)}%` }} title=${`Next: ${when(at)}`} />`)}
  </div></div>`;
});

/** Return the run that an arrow key goes to: before, after, or the nearest one of a row above or below. */
function nextRun(rows, current, key) {
  const visible = rows.filter((list) => list.length);
  const at = visible.findIndex((list) => list.some((run) => run.run_id === current));
  if (at < 0) return undefined;
  const index = visible[at].findIndex((run) => run.run_id === current);
  const time = toMs(visible[at][index].created_at);
  const nearest = (list) => list && list.reduce((best, run) => (Math.abs(toMs(run.created_at) - time) < Math.abs(toMs(best.created_at) - time) ? run : best));
  const found = { ArrowLeft: () => visible[at][index - 1], ArrowRight: () => visible[at][index + 1], Home: () => visible[at][0], End: () => visible[at].at(-1), ArrowUp: () => nearest(visible[at - 1]), ArrowDown: () => nearest(visible[at + 1]) }[key]?.();
  return found?.run_id;
}
