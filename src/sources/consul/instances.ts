import { z } from 'zod';
import type { Endpoint } from '../../model/endpoint.ts';
import { instanceAddress } from '../registry-source/instance-address.ts';
import type { ConsulBackend } from './schema.ts';

/** Consul leaves a port of 0 out. The catalog accepts any number: one instance must not make its service unreadable. */
const port = z.number().default(0);
const taggedAddresses = z.record(z.string(), z.object({ Address: z.string(), Port: port })).nullish();

/** One entry of `/v1/health/service/NAME`, with what the operator reads of it. */
export const healthEntry = z.object({
  Node: z.object({
    Node: z.string(),
    Address: z.string(),
    TaggedAddresses: z.record(z.string(), z.string()).nullish(),
  }),
  Service: z.object({
    ID: z.string(),
    Service: z.string(),
    Address: z.string(),
    Port: port,
    Tags: z.array(z.string()).nullish(),
    Meta: z.record(z.string(), z.string()).nullish(),
    TaggedAddresses: taggedAddresses,
    Weights: z.object({ Passing: z.number(), Warning: z.number() }).nullish(),
  }),
  Checks: z.array(z.object({ CheckID: z.string(), Status: z.string() })).nullish(),
});

type HealthEntry = z.output<typeof healthEntry>;

type Status = 'passing' | 'warning' | 'critical' | 'maintenance';

/** What is kept of one instance. */
export interface ConsulInstance {
  readonly node: string;
  readonly nodeAddress: string;
  readonly taggedNode: Readonly<Record<string, string>> | undefined;
  readonly address: string;
  readonly port: number;
  readonly tagged: Readonly<Record<string, { readonly address: string; readonly port: number }>> | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly weights: { readonly passing: number; readonly warning: number };
  readonly status: Status;
}

const NO_TAGS: readonly string[] = [];
const NO_METADATA: Readonly<Record<string, string>> = {};

export function instanceOf({ Node, Service, Checks }: HealthEntry): ConsulInstance {
  const { Weights } = Service;
  return {
    node: Node.Node,
    nodeAddress: Node.Address,
    taggedNode: Node.TaggedAddresses ?? undefined,
    address: Service.Address,
    port: Service.Port,
    tagged: Service.TaggedAddresses ? taggedOf(Service.TaggedAddresses) : undefined,
    tags: Service.Tags ?? NO_TAGS,
    metadata: Service.Meta ?? NO_METADATA,
    weights: { passing: weightOf(Weights?.Passing), warning: weightOf(Weights?.Warning) },
    status: statusOf(Checks ?? []),
  };
}

/** The catalog accepts any number. */
function weightOf(weight = 1): number {
  return Math.max(0, weight);
}

function taggedOf(addresses: NonNullable<z.output<typeof taggedAddresses>>): ConsulInstance['tagged'] {
  return Object.fromEntries(
    Object.entries(addresses).map(([tag, { Address, Port }]) => [tag, { address: Address, port: Port }]),
  );
}

/** The worst of all checks, as Consul aggregates them. Maintenance mode is a critical check with a reserved id. */
function statusOf(checks: readonly { readonly CheckID: string; readonly Status: string }[]): Status {
  const isMaintenance = ({ CheckID }: { readonly CheckID: string }) =>
    CheckID === '_node_maintenance' || CheckID.startsWith('_service_maintenance:');
  if (checks.some(isMaintenance)) return 'maintenance';
  const statuses = new Set(checks.map(({ Status }) => Status));
  if (statuses.has('critical')) return 'critical';
  return statuses.has('warning') ? 'warning' : 'passing';
}

/** The endpoints that a backend with `options` wants. */
export function endpointsOf(
  instances: readonly ConsulInstance[],
  options: ConsulBackend | undefined,
): readonly Endpoint[] {
  const { tags = NO_TAGS, healthy = 'Passing', address: use = 'Service' } = options ?? {};
  return instances.flatMap((instance) => {
    if (!tags.every((tag) => instance.tags.includes(tag))) return [];
    const { address, port: usedPort } = placeOf(instance, use);
    const { status, weights, metadata, node } = instance;
    const ready = status === 'passing' || (status === 'warning' && healthy === 'PassingOrWarning');
    return [
      {
        ...instanceAddress(address),
        port: Number.isInteger(usedPort) && usedPort > 0 && usedPort <= 65_535 ? usedPort : undefined,
        node,
        ready,
        serving: ready,
        terminating: status === 'maintenance',
        weight: status === 'warning' ? weights.warning : weights.passing,
        metadata,
      } satisfies Endpoint,
    ];
  });
}

interface Place {
  readonly address: string;
  readonly port: number;
}

function placeOf(instance: ConsulInstance, use: NonNullable<ConsulBackend['address']>): Place {
  const { address, port: servicePort, nodeAddress, tagged, taggedNode } = instance;
  const tag = use.toLowerCase();
  const tags = use === 'Service' ? [] : [tag, `${tag}_ipv4`, `${tag}_ipv6`];
  const place = tags.map((one) => tagged?.[one]).find((one) => one !== undefined && one.address !== '');
  if (place !== undefined) return place;
  if (address !== '') return { address, port: servicePort };
  const ofNode = tags.map((one) => taggedNode?.[one]).find((one) => one !== undefined && one !== '');
  return { address: ofNode ?? nodeAddress, port: servicePort };
}
