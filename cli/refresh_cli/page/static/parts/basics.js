// Small parts that all views use: signs, badges, times, dialogs, messages.

import { html, pure, useEffect, useId, useLayoutEffect, useRef, useState } from '../html.js';
import { duration, full, inZone, plural, relative, toMs, when } from '../format.js';
import { useConnection, useNow } from '../live.js';

const PATHS = {
  good: 'M3.500 8.500l3 3 6-7',
  bad: 'M4.200 4.200l7.600 7.600M11.800 4.200l-7.600 7.600',
  running: 'M8 2.500a5.500 5.500 0 1 1-5.500 5.500',
  waiting: 'M4.500 2.500h7M4.500 13.500h7M5.500 2.500c0 3 2.500 4 2.500 5.500s-2.500 2.500-2.500 5.500M10.500 2.500c0 3-2.500 4-2.500 5.500s2.500 2.500 2.500 5.500',
  stopped: 'M8 2.500a5.500 5.500 0 1 0 .01 0M4.200 11.800l7.600-7.600',
  warning: 'M8 2.500l6 11H2zM8 6.500v3.200M8 11.500v.4',
  paused: 'M5.500 3.500v9M10.500 3.500v9',
  clock: 'M8 2.500a5.500 5.500 0 1 0 .01 0M8 5v3.200l2.200 1.600',
  merged: 'M4 2.500v3c0 2.500 4 2.500 4 5v3M12 2.500v3c0 2.500-4 2.500-4 5',
  copy: 'M5.500 5.500h7v8h-7zM3.500 10.500v-8h7',
  play: 'M5 3.200l7.500 4.800L5 12.800z',
  retry: 'M12.800 6.500A5 5 0 1 0 13 9M13 3v3.700H9.300',
  search: 'M7 2.500a4.500 4.500 0 1 0 .01 0M10.300 10.300l3.400 3.400',
  external: 'M9.500 2.500h4v4M13.200 2.800L7.500 8.500M11.500 9.500v4h-9v-9h4',
  sun: 'M8 5a3 3 0 1 0 .01 0M8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  moon: 'M13 9.500A5.600 5.600 0 0 1 6.500 3a5.600 5.600 0 1 0 6.500 6.500z',
  auto: 'M2.500 3.500h11v7.500h-11zM6 13.500h4',
  left: 'M10 3.500L5.500 8l4.500 4.500',
  right: 'M6 3.500L10.500 8 6 12.500',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  key: 'M5.500 7.500a3 3 0 1 0 .01 0M7.800 8.400l5.700-5.400M11.500 5l1.800 1.800',
};

export const Icon = pure(({ name, spin = false }) => html`
  <svg class=${`icon ${spin ? 'spin' : ''}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
  </svg>`);

export const Badge = pure(({ is, plain = false, children }) => html`
  <span class=${`badge tone-${is.tone} ${plain ? 'plain' : ''}`}>
    <${Icon} name=${is.icon} spin=${is.icon === 'running'} />${children ?? is.label}
  </span>`);

/** A time as `as` shows it; the whole time is its title. `zone`: of a definition, whose time is shown as well where it differs. */
export function Time({ at, as = 'relative', zone = null }) {
  const ms = toMs(at);
  const now = useNow(Date.now() - ms < 120_000 ? 1000 : 15_000);
  const there = inZone(ms, zone);
  const shown = { relative: () => relative(ms, now), when: () => html`${when(ms, now)}${there && ` (${there})`}`, both: () => html`${when(ms, now)} <span class="muted">(${there && `${there}, `}${relative(ms, now)})</span>` };
  return html`<time class=${there ? '' : 'nowrap'} datetime=${new Date(ms).toISOString()} title=${full(ms)}>${shown[as]()}</time>`;
}

/** The seconds since `since`, which grow until `until`. */
export function Elapsed({ since, until }) {
  const now = useNow(1000);
  return html`<span class="number">${duration(((until ? toMs(until) : now) - toMs(since)) / 1000)}</span>`;
}

export function Button({ icon, kind = '', children, ...rest }) {
  return html`<button type="button" class=${`button ${kind}`} ...${rest}>${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
}

/** Submits its form, but not while `busy`. It keeps the focus then, which a disabled button would lose. */
export function SubmitButton({ busy, kind = 'primary', children, ...rest }) {
  const click = (event) => busy && event.preventDefault(); // Enter in a field of the form is a click, too
  return html`<button class=${`button ${kind}`} aria-disabled=${busy} onClick=${click} ...${rest}>${busy ? 'Sending …' : children}</button>`;
}

export function External({ href, children }) {
  return html`<a class="external" href=${href} target="_blank" rel="noopener noreferrer">${children}<${Icon} name="external" /><span class="sr"> (opens in a new tab)</span></a>`;
}

/** A button that copies `text`. A browser may refuse that: then the text is shown and selected. */
export function Copy({ text, label }) {
  const [state, setState] = useState('ready');
  const field = useRef();
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      say('Could not copy. The text is selected: copy it yourself.');
      setState('failed');
      field.current?.select();
      return;
    }
    setState('copied');
    setTimeout(() => setState('ready'), 1500);
  };
  useLayoutEffect(() => field.current?.select(), [state]);
  const copied = state === 'copied';
  return html`<button type="button" class="icon-button small" onClick=${copy} aria-label=${copied ? 'Copied' : label} title=${copied ? 'Copied' : label}>
    <${Icon} name=${copied ? 'good' : 'copy'} /></button>${state === 'failed' && html` <input class="copy-text" readonly aria-label=${label} value=${text} ref=${field} />`}`;
}

/**
 * A table; where it is narrow, each row is a block with the titles before the values. `columns`: `{title, kind, isName}`;
 * `rows`: `{key, cells}`, with null for a cell that says nothing; a column that says nothing is left out. Roles are given because blocks are no rows by themselves.
 */
export function Table({ label, columns, rows }) {
  const said = columns.map((_, at) => rows.some(({ cells }) => cells[at] !== null));
  const shown = (list) => list.filter((_, at) => said[at]);
  return html`<div class="table-space" role="region" aria-label=${label} tabindex="0"><table class="table" role="table">
    <thead><tr role="row">${shown(columns).map(({ title, kind = '' }) => html`<th key=${title} scope="col" role="columnheader" class=${kind}>${title}</th>`)}</tr></thead>
    <tbody>${rows.map(({ key, cells }) => html`<tr key=${key} role="row">${shown(cells).map((cell, at) => {
      const { title, kind = '', isName } = shown(columns)[at];
      const name = `${kind} ${cell === null ? 'is-empty' : ''}`;
      return isName
        ? html`<th key=${title} scope="row" role="rowheader" class=${name}>${cell}</th>`
        : html`<td key=${title} role="cell" class=${name} data-title=${title}><div class="value">${cell ?? (kind.includes('right') ? '–' : '')}</div></td>`;
    })}</tr>`)}</tbody></table></div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<p>${children}</p>`}</div>`;
}

export function Skeleton({ rows = 3 }) {
  return html`<div class="skeleton" role="status"><span class="sr">Loading …</span>
    ${Array.from({ length: rows }, () => html`<div class="skeleton-row" />`)}</div>`;
}

/** An error of one view: what, and what to do. What the banner says is not said again, unless `always`. */
export function Problem({ error, always = false }) {
  const said = useConnection().error;
  if (!always && said?.kind === error.kind && said.message === error.message) return null;
  return html`<div class="panel problem" role="alert"><${Icon} name="warning" />
    <div><p><strong>${error.message}</strong></p>${error.action && html`<p>${error.action}</p>`}
    ${error.fields?.length > 0 && html`<ul>${error.fields.map((one) => html`<li><code>${one.field}</code>: ${one.expected}</li>`)}</ul>`}</div></div>`;
}

/** A modal dialog. The browser keeps the focus inside and closes it with Escape. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef();
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current.showModal();
    return () => opener?.isConnected && opener.focus();
  }, []);
  const clicked = (event) => event.target === dialog.current && onClose();
  return html`<dialog ref=${dialog} aria-labelledby=${id} onClose=${onClose} onClick=${clicked}>
    <div class="dialog-body"><h2 id=${id}>${title}</h2>${children}</div></dialog>`;
}

/** A dialog that asks before it calls `onConfirm`, and shows the error if that fails. */
export function Confirm({ title, action, kind = 'primary', children, onConfirm, onClose }) {
  const [state, setState] = useState({ busy: false, error: null });
  const confirm = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      await onConfirm(new FormData(event.target));
      onClose();
    } catch (error) {
      if (!('kind' in error)) throw error;
      setState({ busy: false, error });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${confirm}>
      ${children}
      ${state.error && html`<${Problem} error=${state.error} always />`}
      <div class="dialog-actions">
        <${Button} onClick=${onClose}>Back<//>
        <${SubmitButton} kind=${kind} busy=${state.busy}>${action}<//>
      </div>
    </form><//>`;
}

const messages = { list: [], listeners: new Set(), next: 1 };

/** Show a short message at the edge of the page, which screen readers read when they are idle. */
export function say(text) {
  const id = messages.next++;
  const change = (list) => {
    messages.list = list;
    for (const listener of messages.listeners) listener();
  };
  change([...messages.list, { id, text }]);
  setTimeout(() => change(messages.list.filter((one) => one.id !== id)), 6000);
}

export function Messages() {
  const [, change] = useState(0);
  useEffect(() => {
    const listener = () => change((count) => count + 1);
    messages.listeners.add(listener);
    return () => messages.listeners.delete(listener);
  }, []);
  return html`<div class="messages" role="status" aria-live="polite">
    ${messages.list.map((one) => html`<p key=${one.id} class="message">${one.text}</p>`)}</div>`;
}

export { plural };
