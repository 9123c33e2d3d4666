import { compareNodes } from '../../../src/decide/nodes.ts';
import { assertUpstreamId, type GatewayDriver, type GatewayFormat } from '../../../src/gateways/driver.ts';
import type { DriverLimits } from '../../../src/gateways/vendor.ts';
import { GatewayUnavailableError, UpstreamInUseError } from '../../../src/model/errors.ts';
import type { ObservedUpstream, Traffic, Upstream, UpstreamId } from '../../../src/model/upstream.ts';
import { isObject } from '../../../src/runtime/json.ts';
import { createToyClient } from './client.ts';
import type { ToyResource } from './config-server.ts';
import { ToyConfirmations } from './confirmations.ts';
import { recordMarks, type ToyRecord } from './record.ts';

/** A resource and its record. */
interface Kept {
  readonly resource: ToyResource;
  readonly record?: ToyRecord;
}

interface State {
  readonly resources: Readonly<Record<UpstreamId, ToyResource>>;
  readonly records: Readonly<Record<UpstreamId, ToyRecord>>;
}

/** A resource cannot be deleted. An empty one counts as absent. */
const TOMBSTONE = {};

export const toyFormat: GatewayFormat = {
  canonical: (desired) => canonicalForm(bodyOf(desired), recordOf(desired)),
  unsupported: () => [],
  capabilities: () => [],
  keepsBackendMarks: false,
  listed: (body) => observedIn(body as State),
  read({ canonical }) {
    const {
      nodes: _nodes,
      labels: _labels,
      marks: _marks,
      ...traffic
    } = JSON.parse(canonical) as Record<string, unknown>;
    return { traffic: traffic as unknown as Traffic };
  },
};

export function createToyDriver({
  url,
  token,
  requestTimeoutMs,
  mayWrite = () => true,
}: { readonly url: string; readonly token: string } & DriverLimits): GatewayDriver {
  const client = createToyClient({ url, token, requestTimeoutMs, mayWrite });
  const confirmations = new ToyConfirmations(client);

  const seen = (id: UpstreamId, { resource, record }: Kept): ObservedUpstream => {
    confirmations.wrote(id, resource.revision);
    return observe(id, resource, record);
  };
  const get = async (id: UpstreamId, signal: AbortSignal) => {
    assertUpstreamId(id);
    const kept = (await client.ask('GET', `resources/${id}`, undefined, signal)) as Kept | undefined;
    return kept === undefined || isTombstone(kept.resource) ? undefined : seen(id, kept);
  };

  return {
    type: 'Toy',
    canonical: toyFormat.canonical,
    get,

    async list(signal) {
      const state = (await client.ask('GET', 'state', undefined, signal)) as State;
      const upstreams = observedIn(state);
      for (const id of upstreams.keys()) confirmations.wrote(id, state.resources[id]?.revision ?? 0);
      return { upstreams, info: {} };
    },

    async put(upstream, signal) {
      assertUpstreamId(upstream.id);
      // The record first, because a resource without a record has no owner.
      await client.ask('PUT', `records/${upstream.id}`, recordOf(upstream), signal);
      return seen(
        upstream.id,
        (await client.ask('PUT', `resources/${upstream.id}`, bodyOf(upstream), signal)) as Kept,
      );
    },

    async putNodes(id, nodes, signal) {
      assertUpstreamId(id);
      const kept = (await client.ask('PATCH', `resources/${id}`, { nodes }, signal)) as Kept | undefined;
      return kept && seen(id, kept);
    },

    async mark(id, owner, signal) {
      const before = await get(id, signal);
      if (before === undefined) return undefined;
      const record: ToyRecord = { marks: recordMarks.encode(owner), labels: before.labels };
      await client.ask('PUT', `records/${id}`, record, signal);
      return await get(id, signal);
    },

    async delete(id, { references }, signal) {
      if ((await get(id, signal)) === undefined) return;
      const [route] = (await client.ask('GET', `routes/${id}`, undefined, signal)) as readonly string[];
      if (route !== undefined && references === 'respect') {
        throw new UpstreamInUseError(`can not delete this upstream, route [${route}] is still using it now`);
      }
      await client.ask('PUT', `resources/${id}`, TOMBSTONE, signal);
      await client.ask('DELETE', `records/${id}`, undefined, signal);
      confirmations.forget(id);
    },

    async check(signal) {
      await client.ask('GET', 'planes', undefined, signal);
      return {};
    },

    async checkWrite(signal) {
      await client.ask('PATCH', 'resources/gateway-upstream-operator.write-probe', {}, signal);
    },

    confirmations,

    close() {
      confirmations.close();
    },
  };
}

function bodyOf({ id: _id, owner: _owner, labels: _labels, ...body }: Upstream): Record<string, unknown> {
  return { ...body, nodes: body.nodes.toSorted(compareNodes) };
}

function recordOf({ owner, labels }: Upstream): ToyRecord {
  return { marks: owner === undefined ? {} : recordMarks.encode(owner), labels };
}

function isTombstone({ body }: ToyResource): boolean {
  return Object.keys(body).length === 0;
}

function observedIn({ resources, records }: State): ReadonlyMap<UpstreamId, ObservedUpstream> {
  if (!isObject(resources) || !isObject(records)) {
    throw new GatewayUnavailableError('the response of the configuration server is not a list');
  }
  return new Map(
    Object.entries(resources).flatMap(([id, resource]) =>
      isTombstone(resource) ? [] : [[id, observe(id, resource, records[id])] as const],
    ),
  );
}

function observe(
  id: UpstreamId,
  { body, created }: ToyResource,
  record: ToyRecord = { marks: {}, labels: {} },
): ObservedUpstream {
  const nodes = (body['nodes'] as Upstream['nodes'] | undefined) ?? [];
  const owner = recordMarks.decode(record.marks);
  return {
    id,
    ...(owner === undefined ? {} : { owner }),
    labels: record.labels,
    nodes: nodes.toSorted(compareNodes),
    createTime: created,
    canonical: canonicalForm(body, record),
  };
}

function canonicalForm(body: Record<string, unknown> | ToyResource['body'], record: ToyRecord): string {
  const { nodes, ...rest } = body;
  const sorted = ((nodes as Upstream['nodes'] | undefined) ?? []).toSorted(compareNodes);
  return JSON.stringify({ ...rest, ...record, nodes: sorted }, (key, value: unknown) => {
    if (!isObject(value)) return value;
    const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
    // The certificate identifies the key.
    return Object.fromEntries(
      key === 'clientCertificate' ? members.filter(([name]) => name !== 'key') : members,
    );
  });
}
