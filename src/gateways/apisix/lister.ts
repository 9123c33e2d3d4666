import { createHash } from 'node:crypto';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import type { GatewayDriver } from '../driver.ts';
import { expectTaken, observedIn } from './admin-answers.ts';
import type { ApisixClient } from './client.ts';

/** Lists all upstreams. Remembers each list, so that the next one does not parse unchanged items again. */
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

/** The parsed items of a list, by the digest of their bytes. */
type ReadList = ReadonlyMap<string, readonly ReadItem[]>;
type ReadItem = Pick<ObservedUpstream, 'id' | 'canonical' | 'createTime'>;

/**
 * Reads the items of one list. An item with the same bytes as in the previous list is not parsed again if the known object
 * is still current. In large lists this applies to nearly all items.
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
    // Only strings that stay in memory anyway.
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

  /** The known objects for an item with this digest; undefined if it must be parsed. */
  #same(digest: string): readonly ObservedUpstream[] | undefined {
    const before = this.#before.get(digest);
    const same = before?.flatMap((item) => {
      const known = this.#known(item.id);
      return known !== undefined && isSame(known, item) ? [known] : [];
    });
    return same?.length === before?.length ? same : undefined;
  }
}

/** The canonical form contains all other fields of an observed upstream. */
function isSame(a: ReadItem, b: ReadItem): boolean {
  return a.canonical === b.canonical && a.createTime === b.createTime;
}
