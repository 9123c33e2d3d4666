import { createHash } from 'node:crypto';
import { GatewayUnavailableError, UpstreamInUseError } from '../../model/errors.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { interned } from '../../runtime/interned.ts';
import { isObject, objectIn } from '../../runtime/json.ts';
import { assertUpstreamId, type GatewayDriver, type GatewayFormat } from '../driver.ts';
import { noList } from './admin-errors.ts';
import { capabilities, unsupported } from './capabilities.ts';
import { type ApisixAnswer, type ApisixOptions, createApisixClient } from './client.ts';
import { createControlClient } from './control-client.ts';
import { createDataPlaneReader } from './data-planes.ts';
import { fromAdmin } from './from-admin.ts';
import { type AdminUpstream, canonicalForm, toAdmin, toAdminNodes, toObserved } from './translate.ts';

/** What the Admin API v3 takes and answers. */
export const apisixFormat: GatewayFormat = {
  canonical: (desired) => canonicalForm(toAdmin(desired)),

  unsupported,

  capabilities,

  listed(body) {
    const items = itemsOf(body);
    expectEveryItem(body, items.length);
    return new Map(items.flatMap(observedIn).map((upstream) => [upstream.id, upstream]));
  },

  read: ({ canonical }) => fromAdmin(objectIn(JSON.parse(canonical))),
};

/** No upstream has this id. APISIX reads before it patches and answers 404, so the probe writes nothing. */
const WRITE_PROBE_ID = 'gateway-upstream-operator.write-probe';

/** Apache APISIX over its Admin API v3 on etcd. Throws an `Error` that says what is wrong with the options. */
export function createApisixDriver(options: ApisixOptions): GatewayDriver {
  const client = createApisixClient(options);
  const control = createControlClient(options.tls);
  let lastList: ReadList = new Map();

  return {
    type: 'APISIX',

    canonical: apisixFormat.canonical,

    get,

    async list(signal, known = () => undefined) {
      const reader = new ListReader(lastList, known);
      const { body, version } = await client.list(
        { path: 'upstreams', expected: [200] },
        (item) => reader.take(item),
        signal,
      );
      expectTaken(body, reader.count);
      const { upstreams } = reader;
      lastList = reader.list;
      return { upstreams, info: version === undefined ? {} : { version } };
    },

    async put(upstream, signal) {
      const { body } = await client.request(
        { method: 'PUT', path: pathOf(upstream.id), body: toAdmin(upstream), expected: [200, 201] },
        signal,
      );
      return observe(upstream.id, valueIn(body));
    },

    async putNodes(id, nodes, signal) {
      // Of the whole object, PATCH would merge nodes that are an object; of this part it replaces them.
      const answer = await client.request(
        { method: 'PATCH', path: `${pathOf(id)}/nodes`, body: toAdminNodes(nodes), expected: [200, 404] },
        signal,
      );
      return answered(id, answer);
    },

    addLabels,

    async delete(id, { references }, signal) {
      try {
        if (references === 'respect') await expectNoStreamRoute(id, signal);
        await remove(id, references, signal);
      } catch (error) {
        // By source, APISIX looks for referrers before it looks for the upstream, which a forced deletion took from them.
        if (!(error instanceof UpstreamInUseError)) throw error;
        if ((await get(id, signal)) === undefined) return;
        if (references === 'respect') throw error;
        throw new UpstreamInUseError(
          `${error.message}; this gateway deletes nothing by force, which APISIX does from 3.5.0 on`,
        );
      }
    },

    async check(signal) {
      const { body, version } = await client.request(
        { method: 'GET', path: 'upstreams?page=1&page_size=10', expected: [200] },
        signal,
      );
      itemsOf(body);
      return version === undefined ? {} : { version };
    },

    async checkWrite(signal) {
      await addLabels(WRITE_PROBE_ID, {}, signal);
    },

    dataPlanes: createDataPlaneReader(control),

    close() {
      client.close();
      control.close();
    },
  };

  async function get(id: UpstreamId, signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    return answered(
      id,
      await client.request({ method: 'GET', path: pathOf(id), expected: [200, 404] }, signal),
    );
  }

  async function addLabels(
    id: UpstreamId,
    labels: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ObservedUpstream | undefined> {
    // PATCH of the whole object merges its objects (APISIX 3.18, measured).
    const answer = await client.request(
      { method: 'PATCH', path: pathOf(id), body: { labels }, expected: [200, 404] },
      signal,
    );
    return answered(id, answer);
  }

  async function remove(
    id: UpstreamId,
    references: 'respect' | 'ignore',
    signal: AbortSignal,
  ): Promise<void> {
    const path = references === 'ignore' ? `${pathOf(id)}?force=true` : pathOf(id);
    const { status, body } = await client.request({ method: 'DELETE', path, expected: [200, 404] }, signal);
    if (status === 404) expectMissing(body);
    else if (!isObject(body) || body['deleted'] === undefined) {
      throw new GatewayUnavailableError(
        'the gateway answered a deletion in words that are not those of the Admin API of APISIX',
      );
    }
  }

  /** By source, APISIX does not look at stream routes when it deletes an upstream. */
  async function expectNoStreamRoute(id: UpstreamId, signal: AbortSignal): Promise<void> {
    assertUpstreamId(id);
    let count = 0;
    let route: unknown;
    const take = (bytes: Buffer) => {
      count += 1;
      const item = parseJson(bytes);
      const upstreamId = listedValue(item)['upstream_id'];
      if ((typeof upstreamId === 'string' || typeof upstreamId === 'number') && String(upstreamId) === id) {
        route ??= item;
      }
    };
    // A gateway without the stream proxy answers 400 or 404 with an error_msg: it has no stream routes.
    const { status, body } = await client.list(
      { path: 'stream_routes', expected: [200, 400, 404] },
      take,
      signal,
    );
    if (status !== 200) {
      if (isObject(body) && typeof body['error_msg'] === 'string') return;
      throw new GatewayUnavailableError(`the list of stream routes was answered with ${status}`);
    }
    expectTaken(body, count);
    if (route === undefined) return;
    throw new UpstreamInUseError(
      `can not delete this upstream, stream_route [${idsOf(route)[0]}] is still using it now`,
    );
  }
}

/** The id is checked here, right before it enters a URL: APISIX 3.18, measured: PUT `.../a/b` writes `a`. */
function pathOf(id: UpstreamId): string {
  assertUpstreamId(id);
  return `upstreams/${id}`;
}

/** What an answer about one upstream says; undefined: the gateway has none. */
function answered(id: UpstreamId, { status, body }: ApisixAnswer): ObservedUpstream | undefined {
  if (status !== 404) return observe(id, valueIn(body));
  expectMissing(body);
  return undefined;
}

/** Only APISIX's own words mean that the upstream is not there: a 404 of something in between must not. */
function expectMissing(body: unknown): void {
  if (isObject(body) && body['message'] === 'Key not found') return;
  throw new GatewayUnavailableError(
    'the gateway answered 404 in words that are not those of the Admin API of APISIX on etcd',
    { remedy: 'correct spec.apisix.adminUrl' },
  );
}

/** APISIX 3.18, measured: an empty page is `{}` and an empty list `[]`. */
function itemsOf(body: unknown): readonly unknown[] {
  const list = isObject(body) ? body['list'] : undefined;
  if (Array.isArray(list)) return list;
  if (isObject(list) && Object.keys(list).length === 0) return [];
  throw noList();
}

/** APISIX itself reads 1,000 levels and no more: what is too deep for the stack here was never in it. */
function observe(id: UpstreamId, value: AdminUpstream): ObservedUpstream {
  try {
    return toObserved(id, value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new GatewayUnavailableError(
      'the gateway answered with something that is nested too deeply to be read',
    );
  }
}

/** A list without pages must hold as many objects as it says that there are, so that none looks deleted that is not shown. */
function expectEveryItem(body: unknown, count: number): void {
  itemsOf(body);
  if (isObject(body) && body['total'] === count) return;
  const total = isObject(body) && typeof body['total'] === 'number' ? body['total'] : 'an unknown number of';
  throw new GatewayUnavailableError(`the list holds ${count} of ${total} objects`, {
    remedy: 'check that nothing in front of the Admin API of APISIX adds page or page_size',
  });
}

/** As `expectEveryItem`, of a list whose items were taken one by one. */
function expectTaken(body: unknown, count: number): void {
  if (itemsOf(body).length > 0) throw noList();
  expectEveryItem(body, count);
}

/** What was read of the items of a list, by the digest of their bytes. */
type ReadList = ReadonlyMap<string, readonly ReadItem[]>;
type ReadItem = Pick<ObservedUpstream, 'id' | 'canonical' | 'createTime'>;

/**
 * Reads the items of one list. What has the same bytes as in the list before is not parsed again where it is what is known:
 * of ten thousand upstreams nearly all are.
 */
class ListReader {
  readonly upstreams = new Map<UpstreamId, ObservedUpstream>();
  readonly list = new Map<string, readonly ReadItem[]>();
  count = 0;
  readonly #before: ReadList;
  readonly #known: (id: UpstreamId) => ObservedUpstream | undefined;

  constructor(before: ReadList, known: (id: UpstreamId) => ObservedUpstream | undefined) {
    this.#before = before;
    this.#known = known;
  }

  take(bytes: Buffer): void {
    this.count += 1;
    const digest = createHash('sha1').update(bytes).digest('base64');
    const observed = this.#same(digest) ?? this.#read(bytes);
    for (const upstream of observed) this.upstreams.set(upstream.id, upstream);
    // Only texts that are kept anyway.
    this.list.set(
      digest,
      observed.map(({ id, canonical, createTime }) => ({ id, canonical, createTime })),
    );
  }

  #read(bytes: Buffer): readonly ObservedUpstream[] {
    return observedIn(parseJson(bytes)).map((upstream) => {
      const known = this.#known(upstream.id);
      return known !== undefined && isSame(known, upstream) ? known : upstream;
    });
  }

  /** What is known of an item of these bytes; undefined where it has to be read. */
  #same(digest: string): readonly ObservedUpstream[] | undefined {
    const before = this.#before.get(digest);
    const same = before?.flatMap((item) => {
      const known = this.#known(item.id);
      return known !== undefined && isSame(known, item) ? [known] : [];
    });
    return same?.length === before?.length ? same : undefined;
  }
}

/** What a listed item shows, as each of its ids: where they differ neither may look free. */
function observedIn(item: unknown): readonly ObservedUpstream[] {
  return idsOf(item).map((id) => observe(id, listedValue(item)));
}

/** The canonical form holds everything else that an observed upstream has. */
function isSame(a: ReadItem, b: ReadItem): boolean {
  return a.canonical === b.canonical && a.createTime === b.createTime;
}

function valueIn(answer: unknown): AdminUpstream {
  const value = isObject(answer) ? answer['value'] : undefined;
  if (!isObject(value) || !hasReadableNodes(value)) {
    throw new GatewayUnavailableError(
      'the gateway answered with something that is no object of the Admin API of APISIX',
    );
  }
  return value;
}

/** Nodes of another shape would be read as none, and none is what would be written back where an upstream is left behind. */
function hasReadableNodes({ nodes }: AdminUpstream): boolean {
  return nodes === undefined || Array.isArray(nodes) || isObject(nodes);
}

/** The value of a listed item. One that is no object, written past the Admin API, must not hide the others. */
function listedValue(item: unknown): AdminUpstream {
  const value = isObject(item) ? item['value'] : undefined;
  return isObject(value) ? value : { value };
}

/** By its key, which the Admin API goes by, and by what it says of itself: the same unless somebody wrote past the API. */
function idsOf(item: unknown): readonly [string, ...string[]] {
  const key = isObject(item) ? item['key'] : undefined;
  const { id } = listedValue(item);
  const names = [
    // A part of a string keeps all of it.
    typeof key === 'string' ? interned(key.split('/').at(-1) ?? '') : '',
    typeof id === 'string' || typeof id === 'number' ? String(id) : '',
  ].filter((name) => name !== '');
  const [first, ...others] = new Set(names);
  if (first === undefined)
    throw new GatewayUnavailableError('the gateway listed an object without id or key');
  return [first, ...others];
}
