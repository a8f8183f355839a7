// Run: what happened to a run and each of its steps, and what to do if it failed.

import { html, useMemo, useState } from '../html.js';
import { get } from '../api.js';
import { entry } from '../data.js';
import { brief, clockSeconds, duration, isSameDay, relative, roughly, toMs, when } from '../format.js';
import { useLive, useNow } from '../live.js';
import { CancelDialog, RetryDialog } from '../parts/actions.js';
import { Badge, Button, Copy, Elapsed, External, Icon, Problem, Skeleton, Table, Time } from '../parts/basics.js';
import { Gantt, canonical, stepsOf, withNamesIn } from '../parts/gantt.js';
import { RUN, STEP, hasFailed, isOpen } from '../status.js';

const OPEN = 2_000, ENDED = 60_000;

export function Run({ name: id, about }) {
  const { data, error, refresh } = useLive(`run ${id}`, () => get(`/api/runs/${id}`), (one) => (isOpen(one.status) ? OPEN : ENDED));
  const names = useLive(`names ${data && isNameless(data) ? data.pipeline : ''}`, () => loadNames(data), () => Infinity).data;
  const retry = useLive(`retry ${data?.retried_by ?? ''}`, async () => data?.retried_by && get(`/api/runs/${data.retried_by}`), (one) => (one && isOpen(one.status) ? OPEN : ENDED)).data;
  const run = useMemo(() => data && { ...data, names }, [data, names]);
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  if (!run) {
    return html`<div class="heading"><h1 tabindex="-1" class="run-id">${id}</h1></div>${error ? html`<${Problem} error=${error} />${error.status === 404 && html`<p class="muted">Its record may have expired, or it was dropped before it began. <a href="#/">Go to the overview</a></p>`}` : html`<${Skeleton} rows=${5} />`}`;
  }
  const is = RUN[run.status];
  return html`
    <nav class="crumbs" aria-label="Path"><a href="#/">Pipelines</a><span aria-hidden="true">/</span><a href=${`#/pipelines/${run.pipeline}`}>${run.pipeline}</a></nav>
    <div class="heading run-heading">
      <div><h1 tabindex="-1" class="run-id">${run.run_id}</h1> <${Copy} text=${run.run_id} label="Copy the run's id" /></div>
      <div class="actions">
        ${isOpen(run.status) && html`<${Button} icon="bad" onClick=${() => setDialog('cancel')}>${run.status === 'WAITING' ? 'Drop' : 'Cancel'}<//>`}
        ${['FAILED', 'TIMED_OUT', 'ABORTED'].includes(run.status) && !run.retried_by && run.can_retry !== false && html`<${Button} icon="retry" kind="primary" onClick=${() => setDialog('retry')}>Retry<//>`}
      </div>
    </div>
    <div class="status-line">
      <span role="status"><${Badge} is=${is} /></span>
      <${StatusText} run=${run} />
    </div>
    ${run.retried_by && html`<${RetriedBy} id=${run.retried_by} retry=${retry} />`}
    ${hasFailed(run.status) && html`<${Failure} run=${run} about=${about} />`}
    ${run.status === 'ABORTED' && html`<div class="panel note"><p>${withNamesIn(run.outcome ?? '', stepsOf(run, 0))}</p></div>`}
    ${run.status === 'SUCCEEDED' && run.warnings?.length > 0 && html`<div class="panel warn"><${Icon} name="warning" /><ul>${run.warnings.map((text) => html`<li>${withNamesIn(text, stepsOf(run, 0))}</li>`)}</ul></div>`}
    ${run.status !== 'WAITING' && html`<section class="panel" aria-labelledby="steps"><h2 id="steps">Steps</h2><${Gantt} run=${run} /><${StepTable} run=${run} about=${about} /></section>`}
    <div class="columns">
      <${Triggers} run=${run} />
      <${Facts} run=${run} about=${about} />
    </div>
    ${run.definition && html`<details class="panel"><summary>Definition that this run started with</summary><pre tabindex="0">${JSON.stringify(run.definition, null, 2)}</pre></details>`}
    ${dialog === 'cancel' && html`<${CancelDialog} run=${run} onClose=${close} onDone=${refresh} />`}
    ${dialog === 'retry' && html`<${RetryDialog} run=${run} onClose=${close} onDone=${refresh} />`}`;
}

/** Whether the name of a job of the run is not known: its definition has none, and it has not begun. */
function isNameless(run) {
  return stepsOf(run, 0).some((one) => one.kind === 'job' && !one.name);
}

/** The names of jobs by id, from the last success of the same pipeline. */
async function loadNames(run) {
  if (!run || !isNameless(run)) return {};
  const { runs } = await get('/api/runs', { pipeline: run.pipeline, status: 'SUCCEEDED', limit: 1 });
  if (!runs.length) return {};
  const { steps } = await get(`/api/runs/${runs[0].run_id}`);
  return Object.fromEntries(Object.values(steps).filter((one) => one.name).map((one) => [canonical(one.job ?? one.data_model), one.name]));
}

function StatusText({ run }) {
  const now = useNow(1000);
  if (run.status === 'WAITING') {
    return run.waiting_for_run
      ? html`<span>Begins when <a href=${`#/runs/${run.waiting_for_run}`}>${run.waiting_for_run}</a> has ended.</span>`
      : html`<span>Begins after the pause of the pipeline ends.</span>`;
  }
  const began = run.started_at ?? run.created_at;
  if (!isOpen(run.status)) {
    return html`<span>${when(began, now, { seconds: true })} – ${isSameDay(began, run.ended_at) ? clockSeconds(run.ended_at) : when(run.ended_at, now, { seconds: true })}, took <strong class="number">${duration((toMs(run.ended_at) - toMs(began)) / 1000)}</strong>
      ${run.expected_seconds ? html`<span class="muted"> (expected ${duration(run.expected_seconds)})</span>` : ''}</span>`;
  }
  const steps = stepsOf(run, now);
  return html`<span>for <strong><${Elapsed} since=${began} /></strong>${expectedEnd(run, steps, now)}
    ${steps.filter(isHeldUp).map((step) => html`<span class="wait-reason"> · ${step.label} waits<${WaitReason} text=${withNamesIn(step.facts.last_error ?? step.facts.waiting_for ?? '', steps)} /></span>`)}</span>`;
}

/** Whether a step waits for something, or cannot be polled. */
const isHeldUp = (step) => step.state === 'WAITING' || (['QUEUED', 'RUNNING'].includes(step.state) && step.facts.last_error);

/** When a run is expected to end, as far as it is known. An API of an earlier version says nothing of it. */
function expectedEnd(run, steps, now) {
  if (run.expected_end === undefined) return '';
  const late = Math.max(...steps.map((step) => step.late), 0);
  if (late) return html`, <span class="tone-text-waiting">${roughly(late)} longer than usual</span>`;
  if (run.expected_end) return html`, expected to end at <strong>${clockSeconds(run.expected_end)}</strong> <span class="muted">(${relative(run.expected_end, now)})</span>`;
  if (run.expected_seconds_left === null) return html`, <span class="muted">no expected end yet: the duration of a step is not known</span>`;
  return html`, <span class="muted">no expected end while it waits; it takes about ${brief(run.expected_seconds_left)} more</span>`;
}

/** Why a step waits, after “waits”: “ for run …” with a link, or “: …”. */
function WaitReason({ text }) {
  const match = /^run ([A-Za-z][\w-]*-\d{8}T\d{6}Z-[0-9a-f]{8})(.*)$/.exec(text);
  if (match) return html`${' for '}<a href=${`#/runs/${match[1]}`}>run ${match[1]}</a>${match[2]}`;
  return text ? `: ${text}` : '';
}

/** The retry of a run, and how it went. The API retries a run once: what to do now is said by the retry. */
function RetriedBy({ id, retry }) {
  const is = retry && RUN[retry.status];
  return html`<div class="panel note retried" role="status"><${Icon} name="retry" />
    <p>Retried by <a href=${`#/runs/${id}`}>${id}</a>${is && html` – <strong class=${`tone-text-${is.tone}`}>${is.label.toLowerCase()}</strong>`}${retry && hasFailed(retry.status) ? '. What to do is said there.' : ''}</p></div>`;
}

function Failure({ run, about }) {
  const steps = stepsOf(run, Date.now());
  const failed = steps.find((step) => step.facts.outcome === 'FAILED');
  const links = failed ? celonisLink(failed, run, about) : null;
  const { reason, actions } = explained(withNamesIn(run.outcome ?? 'The run did not succeed.', steps), withNamesIn(failed?.facts.hint ?? '', steps));
  return html`<section class=${`panel ${run.retried_by ? 'was-failure' : 'failure'}`} aria-labelledby="failure">
    <h2 id="failure"><${Icon} name="bad" />${failed ? `${failed.label} failed` : 'The run failed'} <code>${run.error}</code></h2>
    <p class="reason">${reason}</p>
    ${actions.length > 0 && !run.retried_by && html`<h3>What to do</h3><ul>${actions.map((text) => html`<li>${text}</li>`)}</ul>`}
    <p class="links">${links && html`<${External} href=${links}>Open in Celonis<//>`} ${executionLink(run, about)}</p>
  </section>`;
}

const RETRY_ADVICE = /To retry, send POST \S+\/retry(: it skips .*?, which succeeded\.)/;

/** What happened, and what to do: the hint of the failed step, and the advice to retry the run. */
function explained(outcome, hint) {
  const [advice, skips] = RETRY_ADVICE.exec(outcome) ?? [];
  const actions = [hint && outcome.includes(hint) ? hint : '', skips ? `Retry this run${skips}` : ''].filter(Boolean);
  const reason = [hint, advice].filter(Boolean).reduce((text, part) => text.replace(part, () => ''), outcome);
  return { reason: reason.replace(/\s+/g, ' ').trim(), actions };
}

function executionLink(run, about) {
  if (!run.execution_arn || !about.execution_url) return '';
  return html`<${External} href=${about.execution_url.replace('{arn}', encodeURIComponent(run.execution_arn))}>Open in Step Functions<//>`;
}

function celonisLink(step, run, about) {
  const base = entry(about.celonis_urls, run.definition?.connection ?? 'default');
  const pool = poolId(run.definition?.data_pool);
  if (!base || !pool || !step.target) return null;
  const page = step.kind === 'job' ? `data-configuration/data-jobs?jobId=${encodeURIComponent(step.target)}` : `process-data-models/${encodeURIComponent(step.target)}`;
  return `${base}/integration/ui/pools/${encodeURIComponent(pool)}/${page}`;
}

const poolId = (text = '') => /\/pools\/([^/?#]+)/.exec(text)?.[1] ?? text;

function StepTable({ run, about }) {
  const now = useNow(isOpen(run.status) ? 1000 : 60_000);
  const steps = useMemo(() => stepsOf(run, now), [run, now]);
  const named = (text) => withNamesIn(text, steps);
  const columns = [
    { title: 'Step', isName: true }, { title: 'State' }, { title: 'Waited', kind: 'right number' }, { title: 'Queued', kind: 'right number' },
    { title: 'Ran', kind: 'right number' }, { title: 'Expected', kind: 'right number muted' }, { title: 'Polls', kind: 'right number' }, { title: 'Remarks', kind: 'remarks' },
  ];
  const rows = steps.map((step) => {
    const link = celonisLink(step, run, about), said = remarks(step, named);
    return {
      key: step.key,
      cells: [
        html`${link ? html`<${External} href=${link}>${step.label}<//>` : step.label}<div class="muted small">${step.detail}</div>`,
        html`<${Badge} is=${STEP[step.state]} plain />`,
        step.waited >= 1 ? duration(step.waited) : null,
        step.queued >= 1 ? duration(step.queued) : null,
        step.ran === null ? null : duration(step.ran),
        step.expected ? duration(step.expected) : null,
        step.facts.polls ?? null,
        said.length ? said : null,
      ],
    };
  });
  return html`<${Table} label="Table of the steps" columns=${columns} rows=${rows} />`;
}

function remarks(step, named) {
  const { facts } = step;
  const found = [];
  if (facts.error) found.push(html`<code>${facts.error}</code>`);
  if (facts.message && step.state !== 'FAILED') found.push(named(facts.message));
  if (step.waited >= 1 && facts.waiting_for) found.push(html`${step.state === 'WAITING' ? 'Waits' : 'Waited'}<${WaitReason} text=${named(facts.waiting_for)} />`);
  if (facts.last_error) found.push(named(facts.last_error));
  if (facts.resumed_from) found.push(html`Continued from <a href=${`#/runs/${facts.resumed_from}`}>${facts.resumed_from}</a>`);
  if (facts.held) found.push('May still be running in Celonis');
  if (step.state === 'SKIPPED') found.push('Succeeded in the run that this retries');
  return found.map((one) => html`<div>${one}</div>`);
}

function Triggers({ run }) {
  const reasons = run.options?.reasons ?? [];
  return html`<section class="panel" aria-labelledby="triggers"><h2 id="triggers">Triggers <span class="count">${reasons.length}</span></h2>
    <ol class="triggers">${reasons.map((one) => html`<li key=${one.trigger}>
      <${Icon} name=${one.by === 'schedule' || one.text === 'schedule' ? 'clock' : 'play'} />
      <div><div>${byName(one.by)}${one.text && one.text !== one.by ? html` <span class="muted">${one.text}</span>` : ''}</div><div class="muted small"><${Time} at=${one.at} as="both" /></div></div></li>`)}</ol>
    ${run.options?.merged && html`<p class="muted small">These triggers arrived while a run was active, and were merged into this run.</p>`}
  </section>`;
}

/** A source by its name, a user or role by the end of its ARN. */
export function byName(by) {
  return by.startsWith('arn:') ? by.split(':').at(-1).replace(/^(user|assumed-role|role)\//, '') : by;
}

function Facts({ run, about }) {
  const { options = {} } = run;
  const loads = options.complete ? 'all' : [options.as_defined && 'as defined', ...(options.tables ?? [])].filter(Boolean).join(', ');
  const facts = [
    ['Created', html`<${Time} at=${run.created_at ?? options.reasons?.[0]?.at ?? 0} as="both" />`],
    run.started_at && ['Started', html`<${Time} at=${run.started_at} as="both" />`],
    run.ended_at && ['Ended', html`<${Time} at=${run.ended_at} as="both" />`],
    ['Mode', options.mode ?? 'as defined'],
    ['Tables', loads || 'as defined'],
    run.retry_of && ['Retry of', html`<a href=${`#/runs/${run.retry_of}`}>${run.retry_of}</a>`],
    run.follow_up && ['Follow-up', html`<a href=${`#/runs/${run.follow_up}`}>${run.follow_up}</a>`],
    run.status === 'SUCCEEDED' && run.outcome && ['Outcome', withNamesIn(run.outcome, stepsOf(run, 0))],
    run.execution_arn && ['Execution', html`<span class="arn"><code>${run.execution_arn.split(':').at(-1)}</code> <${Copy} text=${run.execution_arn} label="Copy the execution's ARN" /></span> ${executionLink(run, about)}`],
  ].filter(Boolean);
  return html`<section class="panel" aria-labelledby="facts"><h2 id="facts">Facts</h2>
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>`;
}
