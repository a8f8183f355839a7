// The words, colours and signs of statuses: colour is never the only sign.

/** `tone`: the colour; `icon`: the sign; `label`: the word. */
export const RUN = {
  OPENING: { label: 'Starting', tone: 'running', icon: 'running' },
  RUNNING: { label: 'Running', tone: 'running', icon: 'running' },
  WAITING: { label: 'Pending', tone: 'waiting', icon: 'waiting' },
  SUCCEEDED: { label: 'Succeeded', tone: 'good', icon: 'good' },
  FAILED: { label: 'Failed', tone: 'bad', icon: 'bad' },
  TIMED_OUT: { label: 'Timed out', tone: 'bad', icon: 'bad' },
  ABORTED: { label: 'Cancelled', tone: 'stopped', icon: 'stopped' },
};
export const FRESHNESS = {
  FRESH: { label: 'Fresh', tone: 'good', icon: 'good' },
  AT_RISK: { label: 'At risk', tone: 'waiting', icon: 'warning' },
  STALE: { label: 'Stale', tone: 'bad', icon: 'warning' },
};
export const RESULT = {
  started: { label: 'Started', tone: 'good', icon: 'good' },
  merged: { label: 'Merged', tone: 'running', icon: 'merged' },
  joined: { label: 'Merged', tone: 'running', icon: 'merged' },
  skipped: { label: 'Skipped', tone: 'neutral', icon: 'stopped' },
  ignored: { label: 'Ignored', tone: 'neutral', icon: 'stopped' },
  duplicate: { label: 'Duplicate', tone: 'neutral', icon: 'copy' },
  failed: { label: 'Failed', tone: 'bad', icon: 'bad' },
};
export const STEP = {
  SUCCEEDED: RUN.SUCCEEDED,
  FAILED: RUN.FAILED,
  CANCELLED: RUN.ABORTED,
  RUNNING: RUN.RUNNING,
  QUEUED: { label: 'Queued', tone: 'waiting', icon: 'waiting' },
  WAITING: { label: 'Waiting', tone: 'waiting', icon: 'waiting' },
  PENDING: { label: 'Not started', tone: 'neutral', icon: 'clock' },
  SKIPPED: { label: 'Skipped', tone: 'neutral', icon: 'stopped' },
  UNFINISHED: { label: 'Not ended', tone: 'stopped', icon: 'stopped' },
};
export const isOpen = (status) => ['OPENING', 'RUNNING', 'WAITING'].includes(status);
export const hasFailed = (status) => status === 'FAILED' || status === 'TIMED_OUT';

/** Return what is going on in a pipeline, by its details. No run of an invalid one can start. */
export function pipelineState(details) {
  if (details.invalid) return { label: 'Invalid', tone: 'bad', icon: 'warning' };
  if (details.active_run) return RUN.RUNNING;
  if (details.paused) return { label: 'Paused', tone: 'stopped', icon: 'paused' };
  if (details.waiting) return RUN.WAITING;
  return { label: 'Idle', tone: 'neutral', icon: 'clock' };
}
