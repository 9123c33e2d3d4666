import type { RecordedRequest } from '../test/support/apisix-stand-in/stand-in.ts';

/** A write of an upstream that the gateway accepted. */
export interface Write {
  readonly id: string;
  readonly hosts: ReadonlySet<string>;
  readonly at: number;
}

/** The evaluation of requests to the gateway. */
export interface Entries {
  /** Accepted PUTs, in order. */
  readonly writes: readonly Write[];
  /** Requests by method and kind, without the floor's. */
  readonly requests: Readonly<Record<string, number>>;
  /** PUTs with the same content as the previous one. */
  readonly needless: number;
  /** Writes that arrived while another write of the same id was in progress. */
  readonly overlapping: number;
}

/** Keeps the last content of each upstream, to find needless writes across all measurements. */
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

  /** Another client changed the upstream, so the next write of the old content is not needless. */
  forget(id: string): void {
    this.#bodies.delete(id);
  }

  /** The last written body. */
  body(id: string): string | undefined {
    return this.#bodies.get(id);
  }
}
