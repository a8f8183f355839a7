// A table of runs.

import { html } from '../html.js';
import { duration } from '../format.js';
import { RUN } from '../status.js';
import { secondsOf } from './bars.js';
import { Badge, Elapsed, Table, Time } from './basics.js';
import { withoutIds } from './gantt.js';

export function RunTable({ runs, withPipeline = false }) {
  const columns = [
    { title: 'Run', isName: true }, ...(withPipeline ? [{ title: 'Pipeline' }] : []), { title: 'Status' },
    { title: 'Duration', kind: 'right number' }, { title: 'Outcome', kind: 'outcome' },
  ];
  const rows = runs.map((run) => ({
    key: run.run_id,
    cells: [
      html`<a href=${`#/runs/${run.run_id}`}><${Time} at=${run.created_at} as="when" /></a>`,
      ...(withPipeline ? [html`<a href=${`#/pipelines/${run.pipeline}`}>${run.pipeline}</a>`] : []),
      html`<${Badge} is=${RUN[run.status]} plain />`,
      run.status === 'WAITING' ? null : run.ended_at ? duration(secondsOf(run)) : html`<${Elapsed} since=${run.created_at} />`,
      run.error || run.outcome ? html`${run.error && html`<code>${run.error}</code> `}${withoutIds(run.outcome ?? '')}` : null,
    ],
  }));
  return html`<${Table} label="Table of runs" columns=${columns} rows=${rows} />`;
}
