// Deliveries: what became of the events of each source, and a form to try an event against the rules.

import { html, useState } from '../html.js';
import { post } from '../api.js';
import { loadDeliveries, loadSources } from '../data.js';
import { useLive } from '../live.js';
import { Badge, Button, Empty, Icon, Problem, Skeleton, SubmitButton, Table, Time } from '../parts/basics.js';
import { RESULT } from '../status.js';

const PAGE = 50, LIVE = 5_000, MAX_CHIPS = 8;
const SAMPLE = '{\n  "action": "completed",\n  "workflow_run": {"conclusion": "success", "name": "load-erp"}\n}';

export function Deliveries({ query }) {
  const [source, setSource] = useState(query.get('source') ?? '');
  const [result, setResult] = useState('');
  const [pages, setPages] = useState(1);
  const sources = useLive('sources', loadSources, () => 60_000);
  const wanted = source ? [source] : sources.data;
  const deliveries = useLive(`deliveries ${wanted?.join(' ')} ${pages}`, async () => wanted && loadDeliveries(wanted, PAGE, (_, number) => number < pages), () => Math.max(LIVE, (wanted?.length ?? 0) * 1000), { keep: true });
  const all = deliveries.data?.deliveries;
  const shown = (all ?? []).filter((one) => !result || one.result === result);
  const choose = (name) => { setSource(name); setPages(1); };
  return html`
    <div class="heading"><h1 tabindex="-1">Deliveries</h1><p class="muted summary">Authentic events of the last 14 days, and what became of them</p></div>
    <div class="tools">
      <${Sources} names=${sources.data ?? []} chosen=${source} onChoose=${choose} />
      <label class="order"><span class="muted">Result</span><select value=${result} onChange=${(event) => setResult(event.target.value)}><option value="">All</option>
        ${['started', 'merged', 'ignored', 'duplicate', 'failed'].map((one) => html`<option value=${one}>${RESULT[one].label}</option>`)}</select></label>
    </div>
    <div class="columns wide-first">
      <section class="panel" aria-labelledby="list"><h2 id="list" class="sr">List</h2>
        ${deliveries.error && !all && html`<${Problem} error=${deliveries.error} />`}
        ${!all && !deliveries.error && html`<${Skeleton} rows=${6} />`}
        ${all && shown.length === 0 && html`<${Empty} title="No deliveries">${result ? 'None of those loaded has this result.' : 'Events that a sender delivers appear here. Those that are not authentic are only counted.'}<//>`}
        ${shown.length > 0 && html`<${DeliveryTable} deliveries=${shown} withSource=${!source} />`}
        ${deliveries.data?.hasMore && html`<p class="more"><${Button} onClick=${() => setPages(pages + 1)}>Show older<//></p>`}
      </section>
      <${TryEvent} sources=${sources.data ?? []} source=${source} />
    </div>`;
}

function DeliveryTable({ deliveries, withSource }) {
  const columns = [
    { title: 'Received', isName: true }, ...(withSource ? [{ title: 'Source' }] : []), { title: 'Result' },
    { title: 'Runs and reasons', kind: 'remarks' }, { title: 'Delivery', kind: 'delivery' },
  ];
  const rows = deliveries.map((one) => ({
    key: `${one.source} ${one.delivery} ${one.received_at}`,
    cells: [
      html`<${Time} at=${one.received_at} as="when" />`,
      ...(withSource ? [one.source] : []),
      html`<${Badge} is=${RESULT[one.result] ?? RESULT.ignored} plain />`,
      html`${(one.runs ?? []).map((run) => html`<div key=${run.run_id}><a href=${`#/runs/${run.run_id}`}>${run.pipeline}</a></div>`)}
        ${one.reason && html`<div>${one.reason}</div>`}${(one.errors ?? []).map((text) => html`<div class="tone-text-bad">${text}</div>`)}`,
      one.delivery ? html`<code class="id" title=${one.delivery}>${one.delivery}</code>` : null,
    ],
  }));
  return html`<${Table} label="Table of deliveries" columns=${columns} rows=${rows} />`;
}

/** A button for each source, or a list to choose from if there are many. */
function Sources({ names, chosen, onChoose }) {
  if (names.length > MAX_CHIPS) {
    return html`<label class="choice"><span class="muted">Source</span><select value=${chosen} onChange=${(event) => onChoose(event.target.value)}>
      <option value="">All sources</option>${names.map((name) => html`<option key=${name} value=${name} selected=${name === chosen}>${name}</option>`)}</select></label>`;
  }
  return html`<div class="chips" role="group" aria-label="Source">
    ${[['', 'All sources'], ...names.map((name) => [name, name])].map(([name, label]) => html`<button key=${name} type="button" class="chip" aria-pressed=${chosen === name} onClick=${() => onChoose(name)}>${label}</button>`)}</div>`;
}

function TryEvent({ sources, source }) {
  const [state, setState] = useState({ busy: false, answer: null, error: null });
  const send = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setState({ ...state, busy: true });
    try {
      const headers = parseHeaders(form.get('headers'));
      const name = form.get('source');
      const answer = await post(`/api/sources/${name}/test`, { body: parseBody(form.get('body')), ...(headers ? { headers } : {}) });
      setState({ busy: false, answer, error: null });
    } catch (error) {
      if (!('kind' in error)) throw error;
      setState({ busy: false, answer: null, error });
    }
  };
  return html`<section class="panel try" aria-labelledby="try"><h2 id="try">Try an event</h2>
    <p class="muted">Shows what the rules of a source would start, and why not. Nothing is started.</p>
    <form onSubmit=${send}>
      <label class="field">Source <select name="source" required>${sources.map((name) => html`<option key=${name} value=${name} selected=${name === source}>${name}</option>`)}</select></label>
      <label class="field">Body <textarea name="body" rows="6" spellcheck="false" required>${SAMPLE}</textarea></label>
      <details open><summary>Headers</summary><label class="field"><span class="muted">One on each line, <code>name: value</code></span><textarea name="headers" rows="2" spellcheck="false">x-github-event: workflow_run</textarea></label></details>
      <${SubmitButton} busy=${state.busy} disabled=${!sources.length}>Try<//>
    </form>
    <div role="status">${state.answer && html`<${Answer} answer=${state.answer} />`}</div>
    ${state.error && html`<${Problem} error=${state.error} always />`}
  </section>`;
}

/** JSON as a value, anything else as text. */
function parseBody(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function parseHeaders(text) {
  const pairs = text.split('\n').map((line) => /^\s*([\w-]+)\s*:\s*(.*?)\s*$/.exec(line)).filter(Boolean);
  return pairs.length ? Object.fromEntries(pairs.map((match) => [match[1], match[2]])) : null;
}

const ACTIONS = {
  start: 'starts', join: 'joins the follow-up run of', wait: 'waits in', skip: 'is skipped by', nothing: 'does not start', error: 'cannot be applied to',
};

function options(given) {
  const parts = [given?.mode && `mode ${given.mode}`, given?.tables && `tables ${[given.tables].flat().join(', ')}`].filter(Boolean);
  return parts.length ? html`<div class="muted">With ${parts.join(', ')}</div>` : '';
}

function Answer({ answer }) {
  const events = answer.events ?? [];
  return html`<div class="answer">
    ${events.length === 0 && !answer.errors?.length && html`<p>Nothing would start. ${answer.reason ?? ''}</p>`}
    ${events.map((event, at) => html`<div key=${at}>${events.length > 1 && html`<h3>Event ${event.event_id ?? event.event_name ?? at + 1}</h3>`}
      <ol class="rules">${(event.rules ?? []).map((rule, index) => html`<li key=${index}>
        <${Icon} name=${rule.starts ? 'good' : rule.action === 'error' ? 'bad' : 'stopped'} />
        <div><div>Rule ${rule.rule + 1}: <strong>${ACTIONS[rule.action] ?? rule.action} <a href=${`#/pipelines/${rule.pipeline}`}>${rule.pipeline}</a></strong></div>
          ${rule.reason && html`<div class="muted">${rule.reason}</div>`}${rule.when && html`<code>${rule.when}</code>`}${options(rule.options)}</div></li>`)}</ol></div>`)}
    ${(answer.errors ?? []).map((text) => html`<p class="tone-text-bad">${text}</p>`)}</div>`;
}
