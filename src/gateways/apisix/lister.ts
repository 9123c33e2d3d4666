import { createHash } from 'node:crypto';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import type { GatewayDriver } from '../driver.ts';
import { expectTaken, observedIn } from './admin-answers.ts';
import type { ApisixClient } from './client.ts';

/** Lists all upstreams. Keeps of each list what the next one needs to skip items that did not change. */
export function createLister(client: ApisixClient): GatewayDriver['list'] {
  let last: ReadList = new Map();
  return async (signal, known = () => undefined) => {
    const reader = new ListReader(last, known);
    const { body, version } = await client.list(
      { path: 'upstreams', expected: [200] },
      (item) => reader.take(item),
      signal,
    );
    expectTaken(body, reader.count);
    last = reader.list;
    return { upstreams: reader.upstreams, info: version === undefined ? {} : { version } };
  };
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

/** The canonical form holds everything else that an observed upstream has. */
function isSame(a: ReadItem, b: ReadItem): boolean {
  return a.canonical === b.canonical && a.createTime === b.createTime;
}
