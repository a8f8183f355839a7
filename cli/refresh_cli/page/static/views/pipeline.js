// Pipeline: its state, its schedules and all its runs.

import { html, useState } from '../html.js';
import { get } from '../api.js';
import { entry, loadSchedules } from '../data.js';
import { duration, plural } from '../format.js';
import { useLive } from '../live.js';
import { PauseDialog, ResumeDialog, StartDialog } from '../parts/actions.js';
import { Bars } from '../parts/bars.js';
import { Badge, Button, Empty, Problem, Skeleton, Time } from '../parts/basics.js';
import { RunTable } from '../parts/runs.js';
import { RUN, pipelineState } from '../status.js';
import { CALM, Freshness, LIVE } from './overview.js';

export function Pipeline({ name }) {
  const pipeline = useLive(`pipeline ${name}`, () => get(`/api/pipelines/${name}`), (one) => (one.active_run ? LIVE : CALM));
  const [status, setStatus] = useState('');
  const [limit, setLimit] = useState(30);
  const runs = useLive(`runs ${name} ${status} ${limit}`, () => loadRuns(name, status, limit), (page) => (page.runs.some((run) => !run.ended_at) ? LIVE : CALM), { keep: true });
  const recent = useLive(`recent ${name}`, () => get('/api/runs', { pipeline: name, limit: 60 }), () => CALM);
  const schedules = useLive('schedules', loadSchedules, () => 60_000, { optional: true });
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  const refresh = () => { pipeline.refresh(); runs.refresh(); };
  const details = pipeline.data;
  return html`
    <nav class="crumbs" aria-label="Path"><a href="#/">Pipelines</a></nav>
    <div class="heading run-heading"><div><h1 tabindex="-1">${name}</h1> ${details && html`<${Badge} is=${pipelineState(details)} />`}</div>
      ${details && html`<div class="actions">
        ${details.paused
          ? html`<${Button} icon="play" disabled=${!details.pause} title=${details.pause ? '' : 'Paused in its definition: set paused to false there'} onClick=${() => setDialog('resume')}>Resume<//>`
          : html`<${Button} icon="paused" onClick=${() => setDialog('pause')}>Pause<//>`}
        <${Button} icon="play" kind="primary" onClick=${() => setDialog('start')}>Start run<//></div>`}</div>
    ${pipeline.error && !details && html`<${Problem} error=${pipeline.error} />`}
    ${!details && !pipeline.error && html`<${Skeleton} rows=${4} />`}
    ${details && html`
      ${details.pause && html`<p class="panel note">Paused by ${details.pause.by} <${Time} at=${details.pause.at} />${details.pause.reason ? `: ${details.pause.reason}` : ''}</p>`}
      <div class="columns wide-first">
        <section class="panel" aria-labelledby="durations"><h2 id="durations">Durations</h2><${Bars} runs=${recent.data?.runs ?? []} expected=${details.expected_seconds} height=${144} count=${60} />
          <p class="muted small">${lastRuns(recent.data?.runs)}${details.expected_seconds ? html`; dashed: the expected duration, ${duration(details.expected_seconds)}` : ''}. Failed runs have a cross.</p></section>
        <section class="panel" aria-labelledby="state"><h2 id="state">State</h2>
          ${details.freshness && html`<${Freshness} freshness=${details.freshness} zone=${zoneIn(details.freshness.fresh_within)} />`}
          <dl class="facts">
            ${details.active_run && html`<div><dt>Active run</dt><dd><a href=${`#/runs/${details.active_run}`}>${details.active_run}</a></dd></div>`}
            ${details.waiting && html`<div><dt>Pending run</dt><dd><a href=${`#/runs/${details.waiting.run_id}`}>${details.waiting.run_id}</a></dd></div>`}
            <div><dt>Last success</dt><dd>${details.last_success ? html`<a href=${`#/runs/${details.last_success.run_id}`}><${Time} at=${details.last_success.ended_at ?? details.last_success.created_at} as="both" /></a>` : 'None yet'}</dd></div>
            ${details.freshness && html`<div><dt>Fresh within</dt><dd>${typeof details.freshness.fresh_within === 'number' ? duration(details.freshness.fresh_within) : details.freshness.fresh_within}</dd></div>`}
            ${(entry(schedules.data, name) ?? []).map((one) => html`<div key=${one.name}><dt>Schedule</dt><dd><code>${one.expression}</code> <span class="muted">${one.timezone}</span><br />${!one.enabled ? 'Disabled' : one.next?.[0] ? html`Next <${Time} at=${one.next[0]} as="both" zone=${one.timezone} />` : ''}</dd></div>`)}
          </dl></section></div>
      <section class="panel" aria-labelledby="runs"><div class="panel-head"><h2 id="runs">Runs</h2>
        <label class="order"><span class="muted">Status</span><select value=${status} onChange=${(event) => setStatus(event.target.value)}><option value="">All</option>${Object.keys(RUN).filter((one) => one !== 'WAITING').map((one) => html`<option value=${one}>${RUN[one].label}</option>`)}</select></label></div>
        ${runs.error && !runs.data && html`<${Problem} error=${runs.error} />`}
        ${runs.data && (runs.data.runs.length ? html`<${RunTable} runs=${runs.data.runs} />` : html`<${Empty} title="No runs">Start one, or send a webhook.<//>`)}
        ${runs.data?.before && html`<p class="more"><${Button} onClick=${() => setLimit(limit + 70)}>Show more<//></p>`}
      </section>`}
    ${dialog === 'start' && html`<${StartDialog} pipeline=${name} details=${details} onClose=${close} onDone=${refresh} />`}
    ${dialog === 'pause' && html`<${PauseDialog} pipeline=${name} onClose=${close} onDone=${refresh} />`}
    ${dialog === 'resume' && html`<${ResumeDialog} pipeline=${name} onClose=${close} onDone=${refresh} />`}`;
}

/** The zone of a deadline such as “07:00 Europe/Berlin”; null for a number of seconds. */
const zoneIn = (within) => (typeof within === 'string' ? within.split(/[ ,]+/)[1] : null);

/** What the bars show, in words. */
const lastRuns = (runs) => (!runs ? 'Loading …' : !runs.length ? 'No runs yet' : runs.length === 1 ? 'The only run' : `The last ${plural(runs.length, 'run')}`);

async function loadRuns(pipeline, status, limit) {
  const runs = [];
  let before = '';
  do {
    const page = await get('/api/runs', { pipeline, status, before, limit: Math.min(100, limit - runs.length) });
    runs.push(...page.runs);
    before = page.before;
  } while (before && runs.length < limit);
  return { runs, before };
}
