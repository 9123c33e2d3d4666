import { compareNodes } from '../../src/decide/nodes.ts';
import { labelMarks } from '../../src/gateways/apisix/ownership.ts';
import { assertUpstreamId, type GatewayDriver } from '../../src/gateways/driver.ts';
import { UpstreamInUseError } from '../../src/model/errors.ts';
import type { ObservedUpstream, Upstream, UpstreamId } from '../../src/model/upstream.ts';
import { observedLabels } from './owner-labels.ts';

export interface MemoryDriver extends GatewayDriver {
  /**
   * Adds a reference from `by`, in the format of a gateway (`route [r1]`), until the result is disposed. The upstream does
   * not have to exist.
   */
  refer(id: UpstreamId, by: string): Disposable;
}

/** A gateway in memory. `nowSeconds` (default: the real time) determines creation times. */
export function createMemoryDriver(options: { readonly nowSeconds?: () => number } = {}): MemoryDriver {
  const nowSeconds = options.nowSeconds ?? (() => Math.floor(Date.now() / 1000));
  const held = new Map<UpstreamId, ObservedUpstream>();
  const referrers = new Map<UpstreamId, Set<{ readonly by: string }>>();

  return {
    type: 'Memory',

    canonical: canonicalForm,

    async get(id, signal) {
      assertUpstreamId(id);
      await turn(signal);
      return held.get(id);
    },

    async list(signal) {
      await turn(signal);
      return { upstreams: new Map(held), info: {} };
    },

    async put(upstream, signal) {
      assertUpstreamId(upstream.id);
      const { id, owner, labels, nodes } = structuredClone(upstream);
      const canonical = canonicalForm(upstream);
      await turn(signal);
      const createTime = held.get(id)?.createTime ?? nowSeconds();
      const observed = {
        id,
        ...(owner === undefined ? observedLabels(labels) : { owner, labels }),
        nodes: nodes.toSorted(compareNodes),
        createTime,
        canonical,
      };
      held.set(id, observed);
      return observed;
    },

    async putNodes(id, nodes, signal) {
      assertUpstreamId(id);
      const sorted = structuredClone(nodes).toSorted(compareNodes);
      await turn(signal);
      const before = held.get(id);
      if (before === undefined) return undefined;
      const rest = JSON.parse(before.canonical) as Upstream;
      const canonical = canonicalForm({ ...rest, nodes: sorted });
      const observed = { ...before, nodes: sorted, canonical };
      held.set(id, observed);
      return observed;
    },

    async mark(id, owner, signal) {
      assertUpstreamId(id);
      await turn(signal);
      const before = held.get(id);
      if (before === undefined) return undefined;
      const { labels, ...rest } = JSON.parse(before.canonical) as Upstream;
      const canonical = canonicalForm({ ...rest, labels: { ...labels, ...labelMarks.encode(owner) } });
      const observed = { ...before, owner, canonical };
      held.set(id, observed);
      return observed;
    },

    async delete(id, { references }, signal) {
      assertUpstreamId(id);
      await turn(signal);
      const [referrer] = referrers.get(id) ?? [];
      if (held.has(id) && referrer !== undefined && references === 'respect') {
        throw new UpstreamInUseError(`can not delete this upstream, ${referrer.by} is still using it now`);
      }
      held.delete(id);
    },

    async check(signal) {
      await turn(signal);
      return {};
    },

    async checkWrite(signal) {
      await turn(signal);
    },

    close() {},

    refer(id, by) {
      const referrer = { by };
      const all = referrers.get(id) ?? new Set();
      referrers.set(id, all.add(referrer));
      return { [Symbol.dispose]: () => void all.delete(referrer) };
    },
  };
}

/** Waits for the next turn, like a real gateway. A call that is aborted before has no effect. */
async function turn(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await Promise.resolve();
  signal.throwIfAborted();
}

/** Stores ownership marks as labels. */
function canonicalForm({ id: _id, owner, labels, nodes, ...rest }: Upstream): string {
  const marked = { ...labels, ...(owner && labelMarks.encode(owner)) };
  return JSON.stringify(
    { ...rest, labels: marked, nodes: nodes.toSorted(compareNodes) },
    (_, value: unknown) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        : value,
  );
}
