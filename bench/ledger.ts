import type { RecordedRequest } from '../test/support/apisix-stand-in/stand-in.ts';

/** One write of an upstream that the gateway took. */
export interface Write {
  readonly id: string;
  readonly hosts: ReadonlySet<string>;
  readonly at: number;
}

/** What the requests to the gateway came to. */
export interface Entries {
  /** Accepted PUTs, in order. */
  readonly writes: readonly Write[];
  /** Requests by method and kind, the floor's own excepted. */
  readonly requests: Readonly<Record<string, number>>;
  /** PUTs that say what the one before said. */
  readonly needless: number;
  /** Writes of an id that arrived while another one of that id was under way. */
  readonly overlapping: number;
}

/** Remembers what was written last, so that a write in vain is seen over all measurements. */
export class Ledger {
  readonly #bodies = new Map<string, string>();

  enter(records: readonly RecordedRequest[]): Entries {
    const writes: Write[] = [];
    const requests: Record<string, number> = {};
    const busyUntil = new Map<string, number>();
    let needless = 0;
    let overlapping = 0;
    for (const {
      method,
      path,
      status,
      body = '',
      arrivedAt,
      answeredAt = Number.POSITIVE_INFINITY,
    } of records) {
      const id = /\/upstreams\/([^/?]+)/.exec(path)?.[1];
      if (id?.startsWith('floor-') !== true) {
        const kind = `${method} ${id === undefined ? path.replace(/^\/apisix\/admin\//, '') : 'upstreams/ID'}`;
        requests[kind] = (requests[kind] ?? 0) + 1;
      }
      if (method === 'GET' || id === undefined) continue;
      if (arrivedAt < (busyUntil.get(id) ?? 0)) overlapping += 1;
      busyUntil.set(id, Math.max(answeredAt, busyUntil.get(id) ?? 0));
      if (method !== 'PUT' || status === undefined || status >= 300) continue;
      if (this.#bodies.get(id) === body && !id.startsWith('floor-')) needless += 1;
      this.#bodies.set(id, body);
      const { nodes } = JSON.parse(body) as { readonly nodes: readonly { readonly host: string }[] };
      writes.push({ id, hosts: new Set(nodes.map(({ host }) => host)), at: answeredAt });
    }
    return { writes, requests, needless, overlapping };
  }

  /** The upstream was changed past the operator: writing it again is no write in vain. */
  forget(id: string): void {
    this.#bodies.delete(id);
  }

  /** The body that was written last. */
  body(id: string): string | undefined {
    return this.#bodies.get(id);
  }
}
