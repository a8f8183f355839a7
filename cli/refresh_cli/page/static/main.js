// The frame of the page: header, views by address, the state of the connection.

import { html, render, useEffect, useRef, useState } from './html.js';
import { get, takeToken } from './api.js';
import { clockSeconds, relative, zone } from './format.js';
import { connection, useConnection, useLive, useNow } from './live.js';
import { Button, Icon, Messages } from './parts/basics.js';
import { Overview } from './views/overview.js';
import { Timeline } from './views/timeline.js';
import { Run } from './views/run.js';
import { Pipeline } from './views/pipeline.js';
import { Deliveries } from './views/deliveries.js';

const VIEWS = [
  { pattern: /^\/$/, view: Overview, tab: '/', title: () => 'Overview' },
  { pattern: /^\/timeline$/, view: Timeline, tab: '/timeline', title: () => 'Timeline' },
  { pattern: /^\/deliveries$/, view: Deliveries, tab: '/deliveries', title: () => 'Deliveries' },
  { pattern: /^\/pipelines\/([\w-]+)$/, view: Pipeline, tab: '/', title: (name) => name },
  { pattern: /^\/runs\/([\w-]+)$/, view: Run, tab: '/', title: (id) => id },
];
const TABS = [['/', 'Overview'], ['/timeline', 'Timeline'], ['/deliveries', 'Deliveries']];
const THEMES = { auto: { icon: 'auto', next: 'light', label: 'Theme: as the system' }, light: { icon: 'sun', next: 'dark', label: 'Theme: light' }, dark: { icon: 'moon', next: 'auto', label: 'Theme: dark' } };

function route() {
  const [path, query = ''] = (location.hash.slice(1) || '/').split('?');
  for (const one of VIEWS) {
    const match = one.pattern.exec(path);
    if (match) return { ...one, path, name: match[1], query: new URLSearchParams(query) };
  }
  return { view: NotFound, path, tab: '', title: () => 'Not found', query: new URLSearchParams() };
}

function NotFound() {
  return html`<h1 tabindex="-1">Not found</h1><p>There is no such view. <a href="#/">Go to the overview</a></p>`;
}

function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem('theme') ?? 'auto');
  const { icon, next, label } = THEMES[theme] ?? THEMES.auto;
  const change = () => {
    localStorage.setItem('theme', next);
    if (next === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    setTheme(next);
  };
  return html`<button type="button" class="icon-button" onClick=${change} aria-label=${`${label}. Change`} title=${label}><${Icon} name=${icon} /></button>`;
}

function Live() {
  const { error, updatedAt } = useConnection();
  const now = useNow(1000);
  if (!updatedAt && !error) return html`<span class="live"><span class="dot" />Connecting</span>`;
  const text = error ? 'Not connected' : 'Live';
  const title = updatedAt ? `Data of ${clockSeconds(updatedAt)}, ${relative(updatedAt, now)}` : '';
  return html`<span class=${`live ${error ? 'off' : 'on'}`} title=${title}><span class="dot" />${text}</span>`;
}

const HEADINGS = {
  credentials: 'Your AWS credentials have expired or are missing',
  permission: 'Your AWS credentials do not allow this',
  unreachable: 'The API does not answer',
  configuration: 'The stack cannot be read',
  offline: 'The server of this page has stopped',
  WrongToken: 'This link has no token, or that of an earlier start',
};

function ConnectionProblem() {
  const { error, updatedAt } = useConnection();
  if (!error) return html`<div role="status" class="banner-space" />`;
  const isFinal = error.kind === 'WrongToken';
  return html`<div role="status" class="banner-space"><div class="banner"><${Icon} name=${error.kind === 'credentials' ? 'key' : 'warning'} />
    <div class="grow"><strong>${HEADINGS[error.kind] ?? 'A request failed'}</strong>
      <p>${error.message} ${error.action}</p>
      <p class="muted">${updatedAt ? `What you see is of ${clockSeconds(updatedAt)}. ` : ''}${isFinal ? '' : 'The page tries again by itself.'}</p></div>
    ${!isFinal && html`<${Button} icon="retry" onClick=${() => connection.retry()}>Try now<//>`}</div></div>`;
}

function App() {
  const [current, setCurrent] = useState(route());
  const about = useLive('about', () => get('/aws/about'), () => Infinity).data;
  const main = useRef();
  const isFirst = useRef(true);
  useEffect(() => {
    const change = () => (takeToken() ? location.reload() : setCurrent(route()));
    addEventListener('hashchange', change);
    return () => removeEventListener('hashchange', change);
  }, []);
  useEffect(() => {
    document.title = `${current.title(current.name)} · ${about?.stack ?? 'Celonis Refresh'}`;
  }, [current.path, about]);
  useEffect(() => {
    if (isFirst.current) return void (isFirst.current = false);
    scrollTo(0, 0);
    main.current.querySelector('h1')?.focus({ preventScroll: true });
  }, [current.path]);
  const View = current.view;
  const { error, updatedAt } = useConnection();
  const isLocked = error?.kind === 'WrongToken' && !updatedAt; // nothing to show, and nothing will come
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>Skip to the content</a>
    <header class="top"><div class="top-inner">
      <a class="brand" href="#/"><img src="/static/icon.svg" alt="" width="26" height="26" /><span>Celonis Refresh</span></a>
      <nav aria-label="Views">${TABS.map(([path, label]) => html`<a href=${`#${path}`} aria-current=${current.tab === path ? 'page' : undefined}>${label}</a>`)}</nav>
      <div class="top-end">
        ${about && html`<span class="stack" title=${`Stack ${about.stack}`}><span class="stack-name">${about.stack}</span><span class="muted">${about.is_local ? 'local' : about.region}</span></span>`}
        <span class="zone">Times in ${zone()}</span><${Live} /><${Theme} />
      </div></div></header>
    <main id="main" class=${isLocked ? 'locked' : ''} ref=${main} tabindex="-1">
      <${ConnectionProblem} />
      <${View} key=${current.path} name=${current.name} query=${current.query} about=${about ?? {}} />
    </main>
    <p class="foot muted small">Times in ${zone()}</p>
    <${Messages} />`;
}

takeToken();
const root = document.getElementById('app');
root.textContent = '';
render(html`<${App} />`, root);
