import { describe, expect, it, onTestFinished } from 'vitest';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import { createReflector, type ReflectorTiming } from '../../../src/kube/reflector.ts';
import { createStore, type ObjectFailure } from '../../../src/kube/store.ts';
import { createTransport } from '../../../src/kube/transport.ts';
import type { Stored } from '../../../src/model/store-view.ts';
import type { Logger } from '../../../src/runtime/logger.ts';
import { eventually } from '../../support/eventually.ts';
import { createInstantClock } from './instant-clock.ts';
import {
  type Answer,
  json,
  kubeConfigOf,
  refused,
  startScriptedApiServer,
  watched,
} from './scripted-api-server.ts';

interface Thing extends Stored {
  readonly value: string;
}

interface RawThing {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  readonly value?: string;
}

function raw(name: string, version: string, more: Partial<{ uid: string; value: string }> = {}): RawThing {
  const { uid = `uid-${name}`, value = 'good' } = more;
  return { metadata: { name, namespace: 'ns', uid, resourceVersion: version }, value };
}

function transform(object: unknown): Thing | undefined {
  const { metadata, value = '' } = object as RawThing;
  if (value === 'throws') throw new Error('cannot be parsed');
  if (value === 'nothing') return undefined;
  const { name, namespace = '', uid, resourceVersion } = metadata;
  return { name, namespace, uid, resourceVersion, value };
}

const list = (version: string, items: readonly unknown[] = [], next?: string): Answer =>
  json({
    kind: 'ThingList',
    metadata: { resourceVersion: version, ...(next === undefined ? {} : { continue: next }) },
    items,
  });
const added = (object: unknown) => ({ type: 'ADDED', object });
const modified = (object: unknown) => ({ type: 'MODIFIED', object });
const deleted = (object: unknown) => ({ type: 'DELETED', object });
const bookmark = (version: string) => ({
  type: 'BOOKMARK',
  object: { metadata: { resourceVersion: version } },
});
const errorEvent = (code: number, message = 'it is over') => ({
  type: 'ERROR',
  object: { kind: 'Status', code, message },
});

/** Runs a reflector against a scripted API server. After the end of the script, it does not answer. */
async function follow(
  script: readonly Answer[],
  timing: Partial<ReflectorTiming> = {},
  {
    olderPaths = [],
    isServed,
  }: {
    readonly olderPaths?: readonly string[];
    readonly isServed?: () => Promise<boolean>;
  } = {},
) {
  const api = await startScriptedApiServer(script);
  const transport = createTransport({ kubeConfig: kubeConfigOf({ server: api.url }), userAgent: 'tests' });
  const clock = createInstantClock();
  const lines: { readonly level: string; readonly message: string }[] = [];
  const write = (level: string) => (_fields: object, message: string) => void lines.push({ level, message });
  const log: Logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => log,
  };
  const errors: unknown[] = [];
  const failures: ObjectFailure[] = [];
  const reportError = (error: unknown, failure: ObjectFailure) => {
    errors.push(error);
    failures.push(failure);
  };
  const store = createStore<Thing>({ indexes: {}, reportError });
  const events: string[] = [];
  const label = (thing: Thing | undefined) =>
    thing === undefined ? '-' : `${thing.uid}@${thing.resourceVersion}`;
  store.onChange(({ previous, current }) => events.push(`${label(previous)} > ${label(current)}`));
  store.onState(({ state }) => events.push(state));
  const reflector = createReflector<Thing>({
    name: 'things',
    transport,
    paths: ['/api/v1/things', ...olderPaths],
    query: { labelSelector: 'kept' },
    transform,
    unreadable: (object) => {
      const { metadata } = object as { readonly metadata: Stored };
      return metadata.uid === 'left out' ? undefined : { ...metadata, value: 'unreadable' };
    },
    reportError,
    store,
    ...(isServed === undefined ? {} : { isServed }),
    clock,
    random: () => 0.5,
    log,
    timing,
  });
  const stop = new AbortController();
  const running = reflector.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
    transport.close();
    await api[Symbol.asyncDispose]();
  });
  return {
    api,
    clock,
    store,
    reflector,
    events,
    errors,
    failures,
    lines,
    stop,
    running,
    /** Waits until the script is used up and the next request has arrived. Returns all requests. */
    async played() {
      await eventually(() => expect(api.seen.length).toBe(script.length + 1));
      return api.seen.map(({ query }) => {
        if (query['watch'] === 'true') return `watch ${query['resourceVersion']}`;
        return query['continue'] === undefined ? 'list' : `list ${query['continue']}`;
      });
    },
  };
}

describe('list', () => {
  it('reads all pages and is synced after the last one', async () => {
    const run = await follow([
      list('7', [raw('a', '1')], 'p2'),
      list('7', [raw('b', '2')], 'p3'),
      list('7', [raw('c', '3')]),
    ]);
    expect(await run.played()).toEqual(['list', 'list p2', 'list p3', 'watch 7']);
    expect(run.events).toEqual(['- > uid-a@1', '- > uid-b@2', '- > uid-c@3', 'synced']);
    const [first, second] = run.api.seen;
    expect(first?.query).toEqual({ labelSelector: 'kept', limit: '500' });
    expect(second?.query).toEqual({ labelSelector: 'kept', limit: '500', continue: 'p2' });
  });

  it('requests half as many objects if a page is too large', async () => {
    const big = Array.from({ length: 40 }, (_, n) => raw(`big-${n}`, '1', { value: 'x'.repeat(100) }));
    const run = await follow(
      [
        list('7', [raw('a', '1')], 'p2'),
        list('7', big, 'p3'),
        list('7', [raw('b', '1')], 'p3'),
        list('7', [raw('c', '2')]),
      ],
      { maxPageBytes: 2000, pageSize: 9 },
    );
    expect(await run.played()).toEqual(['list', 'list p2', 'list p2', 'list p3', 'watch 7']);
    expect(run.api.seen.slice(0, 4).map(({ query }) => query['limit'])).toEqual(['9', '9', '5', '5']);
    expect(run.events).toEqual(['- > uid-a@1', '- > uid-b@1', '- > uid-c@2', 'synced']);
  });

  it('fails if a single object is too large', async () => {
    const big = list('7', [raw('big', '1', { value: 'x'.repeat(3000) })]);
    const run = await follow([big, big, list('7')], { maxPageBytes: 2000, pageSize: 2 });
    expect(await run.played()).toEqual(['list', 'list', 'list', 'watch 7']);
    expect(run.api.seen.slice(0, 3).map(({ query }) => query['limit'])).toEqual(['2', '1', '2']);
  });

  it('does not change the store if it fails halfway', async () => {
    const run = await follow([
      list('1', [raw('a', '1')]),
      watched([errorEvent(410)], 'close'),
      list('9', [raw('b', '8')], 'p2'),
      refused(500, 'InternalError'),
      list('9', [raw('b', '8')]),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'list', 'list p2', 'list', 'watch 9']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced', 'uid-a@1 > -', '- > uid-b@8']);
  });

  it('starts over if the continue token has expired', async () => {
    const run = await follow([
      list('7', [raw('a', '1')], 'old'),
      refused(410, 'Expired'),
      list('8', [raw('b', '2')]),
    ]);
    expect(await run.played()).toEqual(['list', 'list old', 'list', 'watch 8']);
    expect(run.events).toEqual(['- > uid-b@2', 'synced']);
  });

  it.each<[string, Answer]>([
    ['without items', json({ metadata: { resourceVersion: '1' } })],
    ['without a version', json({ metadata: {}, items: [] })],
    ['that is null', json(null)],
    ['with a version that is not a string', json({ metadata: { resourceVersion: 9 }, items: [] })],
    [
      'with a continue token that is not a string',
      json({ metadata: { resourceVersion: '9', continue: 1 }, items: [] }),
    ],
    ['with an item that is null', json({ metadata: { resourceVersion: '9' }, items: [raw('a', '1'), null] })],
    [
      'with an item whose name is an object',
      json({
        metadata: { resourceVersion: '9' },
        items: [{ metadata: { name: { toString: 1 }, uid: 'u' } }],
      }),
    ],
    [
      'that is cut off',
      (response) => response.writeHead(200, { 'content-length': '99' }).write('{', () => response.destroy()),
    ],
  ])('rejects a response %s', async (_what, answer) => {
    const run = await follow([list('1', [raw('a', '1')]), watched([errorEvent(410)], 'close'), answer]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'list', 'list']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced']);
    expect(run.store.state.state).toBe('synced');
  });

  it.each([401, 403, 429, 500, 503])(
    'keeps the stored objects and tries again after status %i',
    async (status) => {
      const run = await follow([
        list('1', [raw('a', '1')]),
        watched([errorEvent(410)], 'close'),
        refused(status, 'No'),
        refused(status, 'No'),
      ]);
      await run.played();
      expect(run.events).toEqual(['- > uid-a@1', 'synced']);
      expect(run.reflector.health()).toMatchObject({
        state: 'synced',
        lastError: expect.stringContaining(String(status)),
      });
      expect(run.lines.filter(({ level }) => level === 'warn').length).toBe(1);
    },
  );

  it('reports the problem while it is not synced', async () => {
    const run = await follow([refused(403, 'Forbidden', {}, 'no list for you')]);
    await run.played();
    expect(run.store.state).toEqual({
      state: 'syncing',
      problem: expect.stringContaining('no list for you'),
    });
    expect(run.reflector.health().lastError).toContain('no list for you');
  });

  it('backs off after each failure, up to 30 s', async () => {
    const run = await follow(Array.from({ length: 8 }, () => refused(500, 'InternalError')));
    await run.played();
    expect(run.clock.pauses).toEqual([800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  });

  it('honors Retry-After', async () => {
    const run = await follow([refused(429, 'TooManyRequests', { 'retry-after': '42' })]);
    await run.played();
    expect(run.clock.pauses).toEqual([42_000]);
  });

  it.each<[string, Answer[]]>([
    ['list requests with 410', Array.from({ length: 6 }, () => refused(410, 'Expired'))],
    [
      'watch requests with 410',
      Array.from({ length: 6 }, (_, at) => (at % 2 === 0 ? list('1') : refused(410, 'Expired'))),
    ],
    [
      'watch requests with ERROR 410',
      Array.from({ length: 6 }, (_, at) => (at % 2 === 0 ? list('1') : watched([errorEvent(410)], 'close'))),
    ],
    [
      'watch requests with 404',
      Array.from({ length: 6 }, (_, at) => (at % 2 === 0 ? list('1') : refused(404, 'NotFound'))),
    ],
  ])('backs off from an API server that answers all %s', async (_what, script) => {
    const run = await follow(script);
    await run.played();
    expect(run.clock.pauses.length).toBeGreaterThanOrEqual(2);
    expect(run.clock.pauses.at(-1)).toBeGreaterThan(run.clock.pauses[0] ?? Number.POSITIVE_INFINITY);
  });
});

describe('kind that is not served', () => {
  it('is absent, is listed again every 30 s, and is synced when it appears', async () => {
    const run = await follow([
      refused(404, 'NotFound'),
      refused(404, 'NotFound'),
      list('1', [raw('a', '1')]),
    ]);
    expect(await run.played()).toEqual(['list', 'list', 'list', 'watch 1']);
    expect(run.events).toEqual(['absent', '- > uid-a@1', 'synced']);
    expect(run.clock.pauses).toEqual([30_000, 30_000]);
  });

  it('loses its objects when it is removed', async () => {
    const run = await follow([
      list('1', [raw('a', '1'), raw('b', '1')]),
      refused(404, 'NotFound'),
      refused(404, 'NotFound'),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'list', 'list']);
    expect(run.events.slice(2)).toEqual(['synced', 'absent', 'uid-a@1 > -', 'uid-b@1 > -']);
    expect(run.store.size).toBe(0);
  });

  it('is no error if it is optional', async () => {
    const run = await follow([refused(404, 'NotFound')], {}, { isServed: () => Promise.resolve(false) });
    await run.played();
    expect(run.reflector.optional).toBe(true);
    expect(run.reflector.health()).toMatchObject({ state: 'absent', lastError: undefined });
    expect(run.lines).toEqual([{ level: 'info', message: 'the API server does not serve things' }]);
  });

  it('is absent if listing is denied and discovery does not include it', async () => {
    const run = await follow(
      [refused(403, 'Forbidden'), list('1', [raw('a', '1')])],
      {},
      { isServed: () => Promise.resolve(false) },
    );
    await run.played();
    expect(run.events).toEqual(['absent', '- > uid-a@1', 'synced']);
    expect(run.clock.pauses).toEqual([30_000]);
  });

  it.each<[string, () => Promise<boolean>]>([
    ['is served', () => Promise.resolve(true)],
    [
      'cannot be discovered',
      () => Promise.reject(new KubeApiError('the API server answered 503', { status: 503 })),
    ],
  ])('is syncing if listing is denied and the kind %s', async (_, isServed) => {
    const run = await follow([refused(403, 'Forbidden')], {}, { isServed });
    await run.played();
    expect(run.store.state).toEqual({
      state: 'syncing',
      problem: 'the API server answered 403: Forbidden it is',
    });
  });

  it('keeps its objects when the permission to list it is removed', async () => {
    const run = await follow(
      [list('1', [raw('a', '1')]), watched([errorEvent(410)], 'close'), refused(403, 'Forbidden')],
      {},
      { isServed: () => Promise.resolve(false) },
    );
    await run.played();
    expect(run.store.state).toEqual({ state: 'synced' });
    expect(run.store.size).toBe(1);
  });
});

describe('kind with several versions', () => {
  const versions = { olderPaths: ['/api/v1beta1/things'] };
  const paths = ({ api }: Awaited<ReturnType<typeof follow>>) =>
    api.seen.map(({ path }) => path.split('/')[2]);

  it('is watched in the newest version', async () => {
    const run = await follow([list('1')], {}, versions);
    await run.played();
    expect(paths(run)).toEqual(['v1', 'v1']);
  });

  it('is watched in the older version if only that one is served', async () => {
    const run = await follow(
      [refused(404, 'NotFound'), list('1', [raw('a', '1')], 'next'), list('1', [raw('b', '1')])],
      {},
      versions,
    );
    expect(await run.played()).toEqual(['list', 'list', 'list next', 'watch 1']);
    expect(paths(run)).toEqual(['v1', 'v1beta1', 'v1beta1', 'v1beta1']);
    expect(run.events).toEqual(['- > uid-a@1', '- > uid-b@1', 'synced']);
    expect(run.clock.pauses).toEqual([]);
  });

  it('keeps its objects when the watched version is no longer served', async () => {
    const run = await follow(
      [
        refused(404, 'NotFound'),
        list('1', [raw('a', '1')]),
        refused(404, 'NotFound'),
        list('2', [raw('a', '1')]),
      ],
      {},
      versions,
    );
    expect(await run.played()).toEqual(['list', 'list', 'watch 1', 'list', 'watch 2']);
    expect(paths(run)).toEqual(['v1', 'v1beta1', 'v1beta1', 'v1', 'v1']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced']);
  });

  it('is not absent while the newer version replaces the older one', async () => {
    const run = await follow(
      [refused(404, 'NotFound'), refused(404, 'NotFound'), list('1', [raw('a', '1')])],
      {},
      versions,
    );
    await run.played();
    expect(paths(run)).toEqual(['v1', 'v1beta1', 'v1', 'v1']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced']);
  });

  it('is absent if no version is served', async () => {
    const run = await follow(Array<Answer>(3).fill(refused(404, 'NotFound')), {}, versions);
    await run.played();
    expect(run.events).toEqual(['absent']);
    expect(run.clock.pauses).toEqual([30_000]);
  });
});

describe('watch', () => {
  it('requests bookmarks and a random duration, and applies additions, changes and removals', async () => {
    const run = await follow([
      list('1', [raw('a', '1')]),
      watched([added(raw('b', '2')), modified(raw('a', '3')), deleted(raw('b', '4'))], 'close'),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 4']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced', '- > uid-b@2', 'uid-a@1 > uid-a@3', 'uid-b@2 > -']);
    expect(run.api.seen[1]?.query).toEqual({
      labelSelector: 'kept',
      watch: 'true',
      resourceVersion: '1',
      allowWatchBookmarks: 'true',
      timeoutSeconds: '450',
    });
    expect(run.clock.pauses).toEqual([]);
  });

  it('treats a new uid as a removal and an addition', async () => {
    const run = await follow([
      list('1', [raw('a', '1')]),
      watched([modified(raw('a', '2', { uid: 'new' }))], 'close'),
    ]);
    await run.played();
    expect(run.events.slice(2)).toEqual(['uid-a@1 > -', '- > new@2']);
  });

  it('resumes from the last bookmark or event after the connection broke', async () => {
    const run = await follow([
      list('1'),
      watched([added(raw('a', '5')), bookmark('8')], 'cut'),
      watched([added(raw('b', '9'))], 'cut'),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 8', 'watch 9']);
    expect(run.events).toEqual(['synced', '- > uid-a@5', '- > uid-b@9']);
    expect(run.clock.pauses).toEqual([800, 800]);
  });

  it('causes no event for an unchanged object', async () => {
    const run = await follow([
      list('1', [raw('a', '1')]),
      watched([added(raw('a', '1'))], 'close'),
      refused(410, 'Expired'),
      list('2', [raw('a', '1')]),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 1', 'list', 'watch 2']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced']);
  });

  it.each<[string, Answer]>([
    ['410', refused(410, 'Expired')],
    ['ERROR 410', watched([errorEvent(410)], 'close')],
    ['404', refused(404, 'NotFound')],
  ])('lists again after %s and stays synced', async (_what, answer) => {
    const run = await follow([
      list('1', [raw('a', '1'), raw('b', '1')]),
      answer,
      list('5', [raw('a', '1'), raw('c', '4')]),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'list', 'watch 5']);
    expect(run.events.slice(2)).toEqual(['synced', 'uid-b@1 > -', '- > uid-c@4']);
  });

  it('resumes after other ERROR events, and lists again after five of them', async () => {
    const run = await follow([
      list('1'),
      ...Array.from({ length: 5 }, () => watched([errorEvent(500)], 'close')),
      list('2'),
    ]);
    expect(await run.played()).toEqual([
      'list',
      ...Array.from({ length: 5 }, () => 'watch 1'),
      'list',
      'watch 2',
    ]);
    expect(run.events).toEqual(['synced']);
  });

  it('backs off from an API server that closes each watch immediately', async () => {
    const run = await follow([list('1'), ...Array.from({ length: 4 }, () => watched([], 'close'))]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 1', 'watch 1', 'watch 1', 'watch 1']);
    expect(run.clock.pauses.length).toBeGreaterThanOrEqual(3);
    expect(run.clock.pauses.at(-1)).toBeGreaterThan(run.clock.pauses[0] ?? Number.POSITIVE_INFINITY);
  });

  it('backs off from an API server that closes each watch after a bookmark without a new version', async () => {
    const run = await follow([
      list('1'),
      ...Array.from({ length: 4 }, () => watched([bookmark('1')], 'close')),
    ]);
    await run.played();
    expect(run.clock.pauses.length).toBe(4);
  });

  it('lists again if a page returns its own continue token', async () => {
    const run = await follow([list('7', [], 'p2'), list('7', [], 'p2'), list('8')]);
    expect(await run.played()).toEqual(['list', 'list p2', 'list', 'watch 8']);
  });

  it('never resumes from an empty version', async () => {
    const run = await follow([list('1'), watched([added(raw('a', '2')), bookmark('')], 'close')]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 2']);
  });

  it('lists again if a watch times out without a bookmark, because its version may be in the future', async () => {
    const run = await follow([list('900'), watched([], 'open'), list('7', [raw('a', '3')])], {
      idleTimeoutMs: 300,
    });
    await eventually(() => expect(run.store.size).toBe(1));
    expect(run.api.seen.map(({ query }) => query['resourceVersion'])).toEqual([
      undefined,
      '900',
      undefined,
      ...run.api.seen.slice(3).map(() => '7'),
    ]);
  });

  it.each(['ADDED', 'MODIFIED', 'DELETED'])(
    'resumes before an invalid %s event, and lists again if the event stays invalid',
    async (type) => {
      const broken = () => watched([{ type, object: null }, added(raw('a', '2'))], 'close');
      const run = await follow([list('1'), ...Array.from({ length: 5 }, broken), list('2', [raw('a', '2')])]);
      expect(await run.played()).toEqual([
        'list',
        ...Array.from({ length: 5 }, () => 'watch 1'),
        'list',
        'watch 2',
      ]);
      expect(run.events).toEqual(['synced', '- > uid-a@2']);
    },
  );

  it('resumes after a timeout', async () => {
    const run = await follow([list('1'), watched([bookmark('6')], 'open')], { idleTimeoutMs: 300 });
    expect((await run.played()).slice(0, 3)).toEqual(['list', 'watch 1', 'watch 6']);
  });

  it('ignores events of unknown types', async () => {
    const run = await follow([list('1'), watched([{ type: 'NOVEL' }, added(raw('a', '2'))], 'close')]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 2']);
    expect(run.events).toEqual(['synced', '- > uid-a@2']);
  });

  it('lists again after an hour even if the watch works, and stays synced', async () => {
    let advance = (_ms: number): void => undefined;
    const run = await follow([
      list('1', [raw('a', '1')]),
      (response, request) => {
        advance(3_600_000);
        watched([bookmark('2')], 'close')(response, request);
      },
      list('3', [raw('a', '1')]),
    ]);
    advance = run.clock.advance;
    expect(await run.played()).toEqual(['list', 'watch 1', 'list', 'watch 3']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced']);
  });

  it('continues when a listener throws', async () => {
    const run = await follow([list('1'), watched([added(raw('a', '2')), added(raw('b', '3'))], 'close')]);
    run.store.onChange(() => {
      throw new Error('a listener');
    });
    await run.played();
    expect(run.store.size).toBe(2);
    expect(run.errors.length).toBe(2);
  });
});

describe('object that cannot be read', () => {
  it('is ignored if the operator does not use it, and a stored version is kept', async () => {
    const unused = { value: 'nothing' };
    const run = await follow([
      list('1', [raw('a', '1'), raw('bad', '1', unused)]),
      watched([modified(raw('a', '2', unused)), added(raw('b', '3'))], 'close'),
      refused(410, 'Expired'),
      list('9', [raw('a', '4', unused), raw('b', '3')]),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 3', 'list', 'watch 9']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced', '- > uid-b@3']);
    expect(run.store.get('ns', 'a')?.resourceVersion).toBe('1');
  });

  const broken = { value: 'throws' };
  const failed = (name: string) => ({ step: 'read', object: `ns/${name}` });

  it('does not affect the other objects of a list, or the watch', async () => {
    const run = await follow([
      list('1', [raw('a', '1'), raw('bad', '1', broken), raw('b', '1')]),
      watched([added(raw('c', '2'))], 'close'),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 2']);
    expect(run.store.get('ns', 'b')).toBeDefined();
    expect(run.store.get('ns', 'c')).toBeDefined();
    expect(run.failures).toEqual([failed('bad')]);
    expect(run.reflector.health()).toMatchObject({ state: 'synced', lastError: undefined });
  });

  it('is replaced by a substitute if it is not stored yet', async () => {
    const run = await follow([
      list('1', [raw('bad', '1', broken), raw('none', '1', { ...broken, uid: 'left out' })]),
      watched([added(raw('new', '2', broken))], 'close'),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 2']);
    expect([...run.store.list()].map(({ name, value }) => [name, value])).toEqual([
      ['bad', 'unreadable'],
      ['new', 'unreadable'],
    ]);
  });

  it('keeps its stored version during lists and watches until it can be read again', async () => {
    const run = await follow([
      list('1', [raw('a', '1')]),
      watched([modified(raw('a', '2', broken)), added(raw('b', '3'))], 'close'),
      refused(410, 'Expired'),
      list('4', [raw('a', '2', broken), raw('b', '3')]),
      watched([modified(raw('a', '5'))], 'close'),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 3', 'list', 'watch 4', 'watch 5']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced', '- > uid-b@3', 'uid-a@1 > uid-a@5']);
    expect(run.failures).toEqual([failed('a'), failed('a')]);
  });

  it.each(['throws', 'nothing'])('is still removed when it is deleted (%s)', async (value) => {
    const run = await follow([
      list('1', [raw('a', '1')]),
      watched([deleted(raw('a', '2', { value }))], 'close'),
    ]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 2']);
    expect(run.events).toEqual(['- > uid-a@1', 'synced', 'uid-a@1 > -']);
  });
});

describe('health', () => {
  it('reports the last error until the API server answers again', async () => {
    const run = await follow([refused(500, 'InternalError'), list('1'), watched([], 'open')]);
    await eventually(() => expect(run.api.seen.length).toBe(3));
    await eventually(() =>
      expect(run.reflector.health()).toMatchObject({ state: 'synced', lastError: undefined }),
    );
  });

  it('does not count error responses as contact with the API server', async () => {
    const forbidden = refused(403, 'Forbidden');
    const run = await follow([list('1'), ...Array.from({ length: 8 }, () => forbidden)]);
    const listedAt = run.clock.monotonic();
    const played = await run.played();
    expect(played.at(-1)).toBe('list');
    expect(run.reflector.health()).toEqual({
      state: 'synced',
      lastContactAt: listedAt,
      lastError: expect.stringContaining('403'),
      lists: played.filter((request) => request === 'list').length,
      // No watch was accepted.
      watches: 0,
    });
    expect(run.clock.monotonic()).toBeGreaterThan(listedAt);
  });

  it('counts an accepted watch as contact before its first event', async () => {
    const run = await follow([list('1'), refused(503, 'ServiceUnavailable'), watched([], 'open')]);
    await eventually(() => expect(run.api.seen.length).toBe(3));
    await eventually(() => expect(run.reflector.health().lastError).toBeUndefined());
    expect(run.reflector.health().lastContactAt).toBe(run.clock.monotonic());
    expect(run.reflector.health()).toMatchObject({ lists: 1, watches: 1 });
  });
});

describe('log', () => {
  const away: Answer = (response) => response.destroy();

  it('has one warning per outage of the API server, and one line when it answers again', async () => {
    const run = await follow([
      list('1'),
      ...Array.from({ length: 9 }, () => away),
      list('1'),
      watched([added(raw('a', '2'))], 'close'),
    ]);
    expect(await run.played()).toEqual([
      'list',
      ...Array.from({ length: 5 }, () => 'watch 1'),
      ...Array.from({ length: 5 }, () => 'list'),
      'watch 1',
      'watch 2',
    ]);
    const logged = run.lines.filter(({ level }) => level !== 'debug');
    expect(logged.map(({ level }) => level)).toEqual(['warn', 'info']);
    expect(run.events).toEqual(['synced', '- > uid-a@2']);
  });

  it('has no warning if only one connection broke', async () => {
    const run = await follow([list('1'), away, watched([bookmark('2')], 'close'), away]);
    expect(await run.played()).toEqual(['list', 'watch 1', 'watch 1', 'watch 2', 'watch 2']);
    expect(run.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  });
});

describe('stop', () => {
  it.each<[string, Answer[]]>([
    ['a list', []],
    ['a watch', [list('1', [raw('a', '1')]), watched([added(raw('b', '2'))], 'open')]],
  ])('during %s closes the connection and resolves', async (_what, script) => {
    const run = await follow(script);
    await eventually(() => expect(run.api.seen.length).toBe(Math.max(1, script.length)));
    run.stop.abort();
    await run.running;
    await run.api.seen.at(-1)?.closed;
  });

  it('discards events that have already arrived', async () => {
    const run = await follow([list('1'), watched([added(raw('a', '2')), added(raw('b', '3'))], 'open')]);
    run.store.onChange(() => run.stop.abort());
    await run.running;
    expect(run.events).toEqual(['synced', '- > uid-a@2']);
    await eventually(() => expect(run.api.openConnections()).toBe(0));
  });
});
