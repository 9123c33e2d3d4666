import type { Answer } from './admin-api.ts';
import { nginxPage, nginxPath } from './nginx-uri.ts';
import type { StoreReader } from './store.ts';
import type { Worker } from './worker.ts';

/** APISIX's Control API, by source: the configuration of one worker. Without a key, GET only. */
export function createControlApi(
  store: StoreReader,
  worker: Worker,
): (request: { method: string; path: string }) => Answer {
  return ({ method, path: target }) => {
    const path = nginxPath(target) ?? '';
    const id = /^\/v1\/upstream\/([^/]+)/.exec(path)?.[1];
    if (method !== 'GET') return notFound();
    if (path === '/v1/upstreams') {
      const items = store.list('upstreams').map(worker.shown);
      // An empty Lua table without the array marker is an object.
      return json(200, items.length === 0 ? {} : items);
    }
    if (path === '/v1/healthcheck') return json(200, []);
    if (id === undefined) return notFound();
    const item = store.get('upstreams', id);
    return item === undefined
      ? json(404, { error_msg: `upstream[${id}] not found` })
      : json(200, worker.shown(item));
  };
}

function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json', body: JSON.stringify(value) };
}

function notFound(): Answer {
  return { status: 404, contentType: 'text/html; charset=utf-8', body: nginxPage(404) };
}
