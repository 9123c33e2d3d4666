import { z } from 'zod';
import type { Endpoint } from '../../model/endpoint.ts';
import { instanceAddress } from '../registry-source/instance-address.ts';
import type { NacosBackend } from './schema.ts';

/**
 * One host of a list, with what the operator reads of it. Every API has it in this form. Older servers store what a client
 * registers without a check: one bad instance must not hide the others of its service.
 */
export const nacosHost = z.object({
  ip: z.string(),
  port: z.int().min(0).max(65_535).catch(0),
  weight: z.number().min(0).catch(0),
  healthy: z.boolean(),
  enabled: z.boolean(),
  clusterName: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});

type NacosHost = z.output<typeof nacosHost>;

/** What is kept of one instance. */
export interface NacosInstance {
  readonly ip: string;
  readonly port: number;
  readonly weight: number;
  readonly healthy: boolean;
  readonly enabled: boolean;
  readonly cluster: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Where an instance is if it names no cluster. */
export const DEFAULT_CLUSTER = 'DEFAULT';
const NO_METADATA: Readonly<Record<string, string>> = {};

export function instanceOf(host: NacosHost): NacosInstance {
  const { ip, port, weight, healthy, enabled, clusterName, metadata } = host;
  return {
    ip,
    port,
    weight,
    healthy,
    enabled,
    cluster: clusterName ?? DEFAULT_CLUSTER,
    metadata: metadata ? textsOf(metadata) : NO_METADATA,
  };
}

function textsOf(metadata: Readonly<Record<string, unknown>>): NacosInstance['metadata'] {
  const texts = Object.entries(metadata).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return texts.length === 0 ? NO_METADATA : Object.fromEntries(texts);
}

/** Faster than a comparison of any two objects: a list of 10,000 instances is compared with each poll. */
export function areSame(instances: readonly NacosInstance[], others: readonly NacosInstance[]): boolean {
  return (
    instances.length === others.length &&
    instances.every((instance, index) => {
      const other = others[index];
      return other !== undefined && isSame(instance, other);
    })
  );
}

function isSame(one: NacosInstance, other: NacosInstance): boolean {
  return (
    one.ip === other.ip &&
    one.port === other.port &&
    one.weight === other.weight &&
    one.healthy === other.healthy &&
    one.enabled === other.enabled &&
    one.cluster === other.cluster &&
    isSameMetadata(one.metadata, other.metadata)
  );
}

function isSameMetadata(one: NacosInstance['metadata'], other: NacosInstance['metadata']): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}

/** The endpoints that a backend with `options` wants. */
export function endpointsOf(
  instances: readonly NacosInstance[],
  options: NacosBackend | undefined,
): readonly Endpoint[] {
  const clusters = options?.clusters;
  return instances.flatMap(({ ip, port, weight, healthy, enabled, cluster, metadata }) => {
    if (clusters !== undefined && !clusters.includes(cluster)) return [];
    const ready = healthy && enabled;
    return [
      {
        ...instanceAddress(ip),
        port: port === 0 ? undefined : port,
        ready,
        serving: ready,
        // An operator of Nacos has taken the instance out of service.
        terminating: !enabled,
        weight,
        metadata,
      } satisfies Endpoint,
    ];
  });
}
