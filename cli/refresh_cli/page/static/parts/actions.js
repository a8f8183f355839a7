// Dialogs that start, cancel and retry runs, and pause and resume pipelines.

import { html, useState } from '../html.js';
import { post } from '../api.js';
import { Confirm, Time, say } from './basics.js';

const go = (id) => (location.hash = `#/runs/${id}`);

/** Return what a start did. `details` may be old: the pause that they name may have ended. */
function startText({ pipeline, run_id: id, status }, details) {
  if (status === 'duplicate') return `Nothing was started: an earlier request has started or joined run ${id}.`;
  if (status === 'started') return `A run of ${pipeline} has started.`;
  return details.paused ? `The run begins after the pause of ${pipeline} ends.` : `Merged into the follow-up run of ${pipeline}.`;
}

/** `details`: of the pipeline, with its pause. */
export function StartDialog({ pipeline, details, onClose, onDone }) {
  const [key] = useState(() => crypto.randomUUID()); // one for the dialog: sent again, it starts no second run
  const start = async (form) => {
    const body = { pipeline };
    const tables = String(form.get('tables') ?? '').split(',').map((name) => name.trim()).filter(Boolean);
    if (form.get('mode')) body.mode = form.get('mode');
    if (form.get('tables').trim() === 'all') body.tables = 'all';
    else if (tables.length) body.tables = tables;
    body.reason = form.get('reason').trim() || 'started on the page';
    const { runs } = await post('/api/runs', body, { 'Idempotency-Key': key });
    say(startText(runs[0], details));
    onDone?.();
    go(runs[0].run_id);
  };
  return html`<${Confirm} title=${`Start ${pipeline}`} action="Start run" onConfirm=${start} onClose=${onClose}>
    ${details.paused
      ? html`<p class="panel note"><strong>${pipeline} is paused</strong> ${details.pause ? html`by ${details.pause.by} since <${Time} at=${details.pause.at} as="when" />${details.pause.reason ? `: ${details.pause.reason}` : ''}` : 'in its definition'}. The run begins after the pause ends.</p>`
      : html`<p class="muted">While a run is active, this is merged into one follow-up run.</p>`}
    <label class="field">Mode
      <select name="mode"><option value="">As defined</option><option value="DELTA">Delta: what has changed</option><option value="FULL">Full: everything</option></select></label>
    <label class="field">Tables <span class="muted">names separated by commas, or “all”; empty: as defined</span>
      <input name="tables" autocomplete="off" spellcheck="false" /></label>
    <label class="field">Reason <input name="reason" maxlength="256" autocomplete="off" /></label>
  <//>`;
}

export function CancelDialog({ run, onClose, onDone }) {
  const cancel = async (form) => {
    const body = form.get('drop_pending') ? { drop_pending: true } : {};
    const answer = await post(`/api/runs/${run.run_id}/cancel`, body);
    say(answer.status === 'dropped' ? 'The pending run was dropped.' : 'The run is being cancelled.');
    onDone?.();
    if (answer.status === 'dropped') location.hash = `#/pipelines/${run.pipeline}`;
  };
  const isPending = run.status === 'WAITING';
  return html`<${Confirm} title=${isPending ? 'Drop this pending run?' : 'Cancel this run?'} action=${isPending ? 'Drop run' : 'Cancel run'} kind="danger" onConfirm=${cancel} onClose=${onClose}>
    <p>${isPending
      ? 'It will not begin, and the triggers that it covers start nothing.'
      : 'Its running data job is cancelled in Celonis as well, unless the pipeline has cancel_on_stop: false. A load that has started continues until it ends.'}</p>
    ${!isPending && html`<label class="check"><input type="checkbox" name="drop_pending" value="1" /> Also drop the pending follow-up run</label>`}
  <//>`;
}

export function RetryDialog({ run, onClose, onDone }) {
  const retry = async () => {
    const { runs } = await post(`/api/runs/${run.run_id}/retry`);
    say(runs[0].status === 'duplicate' ? `Nothing was started: an earlier request has started run ${runs[0].run_id}.` : 'The retry has started.');
    onDone?.();
    go(runs[0].run_id);
  };
  return html`<${Confirm} title="Retry this run?" action="Retry run" onConfirm=${retry} onClose=${onClose}>
    <p>A new run starts with the current definition of <strong>${run.pipeline}</strong>. Jobs and models that succeeded within
    the last 24 hours are skipped, and what is still running in Celonis is continued.</p><//>`;
}

export function PauseDialog({ pipeline, onClose, onDone }) {
  const pause = async (form) => {
    const reason = form.get('reason').trim();
    await post(`/api/pipelines/${pipeline}/pause`, reason ? { reason } : {});
    say(`${pipeline} is paused.`);
    onDone?.();
  };
  return html`<${Confirm} title=${`Pause ${pipeline}?`} action="Pause pipeline" onConfirm=${pause} onClose=${onClose}>
    <p>No run starts until it is resumed. Triggers are kept and merged into one pending run. A run that is active continues.</p>
    <label class="field">Reason <input name="reason" maxlength="256" autocomplete="off" /></label><//>`;
}

export function ResumeDialog({ pipeline, onClose, onDone }) {
  const resume = async () => {
    const answer = await post(`/api/pipelines/${pipeline}/resume`);
    say(answer.started ? `${pipeline} is resumed, and its pending run has started.` : `${pipeline} is resumed.`);
    onDone?.();
  };
  return html`<${Confirm} title=${`Resume ${pipeline}?`} action="Resume pipeline" onConfirm=${resume} onClose=${onClose}>
    <p>If a run is pending, it starts now.</p><//>`;
}
