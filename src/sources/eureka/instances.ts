import { z } from 'zod';
import type { Endpoint } from '../../model/endpoint.ts';
import { instanceAddress } from '../registry-source/instance-address.ts';
import { metadataWeight } from '../registry-source/metadata-weight.ts';
import type { EurekaBackend } from './schema.ts';

/** `{"$": 8080, "@enabled": "true"}`. Eureka stores what a client registers: a bad port must not hide other instances. */
const portEntry = z
  .object({
    $: z
      .union([
        z.number(),
        z
          .string()
          .regex(/^[0-9]{1,5}$/)
          .transform(Number),
      ])
      .pipe(z.int().min(0).max(65_535))
      .catch(0),
    '@enabled': z.union([z.boolean(), z.string()]).transform((enabled) => `${enabled}` === 'true'),
  })
  .nullish()
  .catch(undefined);

/** One instance of `/apps/NAME`, with what the operator reads of it. */
export const eurekaInstance = z.object({
  instanceId: z.string().nullish(),
  hostName: z.string(),
  ipAddr: z.string().nullish(),
  // `overriddenStatus` is UNKNOWN unless an override is set, and `status` already contains the override.
  status: z.string(),
  port: portEntry,
  securePort: portEntry,
  metadata: z.record(z.string(), z.unknown()).nullish(),
});

/** The answer to `/apps/NAME`, with an empty list in place of the instances. */
export const applicationRest = z.object({
  application: z.object({ name: z.string(), instance: z.array(z.unknown()).length(0) }),
});

/** A saved answer to `/apps/NAME`. */
export const applicationAnswer = z
  .object({ application: z.object({ name: z.string(), instance: z.array(eurekaInstance) }) })
  .transform(({ application }) => application.instance);

/** What is kept of one instance. */
export interface EurekaInstance {
  readonly id: string;
  readonly ip: string;
  readonly hostName: string;
  readonly status: string;
  /** Undefined if the port is not enabled. */
  readonly plainPort: number | undefined;
  readonly securePort: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

const NO_METADATA: EurekaInstance['metadata'] = {};

export function instanceOf(instance: z.output<typeof eurekaInstance>): EurekaInstance {
  const { instanceId, hostName, ipAddr, status, port, securePort, metadata } = instance;
  return {
    id: instanceId ?? '',
    ip: ipAddr ?? '',
    hostName,
    status,
    plainPort: enabled(port),
    securePort: enabled(securePort),
    metadata: metadata ? textsOf(metadata) : NO_METADATA,
  };
}

function enabled(port: z.output<typeof portEntry>): number | undefined {
  return port?.['@enabled'] === true && port.$ > 0 ? port.$ : undefined;
}

/** Eureka writes empty metadata as `{"@class": "java.util.Collections$EmptyMap"}`. */
function textsOf(metadata: Readonly<Record<string, unknown>>): EurekaInstance['metadata'] {
  const texts = Object.entries(metadata).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string' && entry[0] !== '@class',
  );
  return texts.length === 0 ? NO_METADATA : Object.fromEntries(texts);
}

/** The endpoints that a backend with `options` wants. */
export function endpointsOf(
  instances: readonly EurekaInstance[],
  options: EurekaBackend | undefined,
): readonly Endpoint[] {
  const { port: use = 'Auto', address: by = 'IP' } = options ?? {};
  return instances.map((instance) => {
    const { ip, hostName, status, metadata } = instance;
    const ready = status === 'UP';
    return {
      ...instanceAddress(by === 'IP' && ip !== '' ? ip : hostName),
      port: portOf(instance, use),
      ready,
      serving: ready,
      terminating: status === 'OUT_OF_SERVICE',
      // Eureka has no weights. Load balancers, and APISIX, read them from this entry.
      weight: metadataWeight(metadata['weight'], 1),
      metadata,
    } satisfies Endpoint;
  });
}

function portOf(
  { plainPort, securePort }: EurekaInstance,
  use: NonNullable<EurekaBackend['port']>,
): number | undefined {
  switch (use) {
    case 'Auto':
      return plainPort ?? securePort;
    case 'Plain':
      return plainPort;
    case 'Secure':
      return securePort;
    default:
      return use satisfies never;
  }
}
