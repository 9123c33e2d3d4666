import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ModelObject {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  readonly value: string;
}

/** The stage of a reflector's life in which a request or an event occurs. */
export type Stage = 'first list' | 'second page' | 'watch open' | 'mid-watch' | 'relist';

/** Answers in place of the API server. `respond` sends the regular response. */
export type Misbehavior = (response: ServerResponse, respond: () => void) => void;

/**
 * A model of an API server with one collection. It lists pages of `limit` items, and sends watch events from a
 * resourceVersion. Calls `misbehave` at every stage.
 */
export interface ModelApiServer extends AsyncDisposable {
  readonly url: string;
  readonly objects: ReadonlyMap<string, ModelObject>;
  put(name: string, value: string): void;
  remove(name: string): void;
  /** Ends every watch with ERROR 410, as after a compaction. */
  compact(): void;
}

export async function startModelApiServer(
  misbehave: (stage: Stage) => Misbehavior | undefined,
): Promise<ModelApiServer> {
  const objects = new Map<string, ModelObject>();
  const history: { readonly version: number; readonly type: string; readonly object: ModelObject }[] = [];
  const watches = new Set<ServerResponse>();
  const snapshots = new Map<string, { readonly items: readonly ModelObject[]; readonly version: number }>();
  let version = 100;
  let wasWatched = false;

  const line = (event: object) => `${JSON.stringify(event)}\n`;
  const answer = (response: ServerResponse, stage: Stage, respond: () => void) => {
    const misbehavior = misbehave(stage);
    if (misbehavior === undefined) respond();
    else misbehavior(response, respond);
  };
  const record = (type: string, object: ModelObject) => {
    const event = { version, type, object };
    history.push(event);
    for (const response of watches) {
      answer(response, 'mid-watch', () => {
        if (!response.writableEnded) response.write(line(event));
      });
      if (response.writableEnded) watches.delete(response);
    }
  };

  const list = (response: ServerResponse, limit: number, token: string | null) => {
    const { items, version: at } = snapshots.get(token ?? '') ?? { items: [...objects.values()], version };
    const next = String(snapshots.size + 1);
    const rest = items.slice(limit);
    if (rest.length > 0) snapshots.set(next, { items: rest, version: at });
    const stage = token !== null ? 'second page' : wasWatched ? 'relist' : 'first list';
    answer(response, stage, () =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(
        JSON.stringify({
          kind: 'ThingList',
          metadata: { resourceVersion: String(at), ...(rest.length > 0 ? { continue: next } : {}) },
          items: items.slice(0, limit),
        }),
      ),
    );
  };

  const watch = (response: ServerResponse, from: number) => {
    wasWatched = true;
    answer(response, 'watch open', () => {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      for (const event of history) if (event.version > from) response.write(line(event));
      watches.add(response);
      response.once('close', () => watches.delete(response));
    });
  };

  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '/', 'http://api');
    if (searchParams.get('watch') === 'true') watch(response, Number(searchParams.get('resourceVersion')));
    else list(response, Number(searchParams.get('limit')), searchParams.get('continue'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects,
    put(name, value) {
      version += 1;
      const type = objects.has(name) ? 'MODIFIED' : 'ADDED';
      const metadata = { namespace: 'ns', name, uid: `uid-${name}`, resourceVersion: String(version) };
      const object = { metadata, value };
      objects.set(name, object);
      record(type, object);
    },
    remove(name) {
      const object = objects.get(name);
      if (object === undefined) throw new Error(`there is no ${name}`);
      version += 1;
      objects.delete(name);
      record('DELETED', {
        ...object,
        metadata: { ...object.metadata, resourceVersion: String(version) },
      });
    },
    compact() {
      const object = { kind: 'Status', code: 410, message: 'too old resource version' };
      for (const response of watches) response.end(line({ type: 'ERROR', object }));
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
