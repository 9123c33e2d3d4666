import { z } from 'zod';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { type JsonObject, objectIn } from '../../runtime/json.ts';
import { metadataWeight } from '../registry-source/metadata-weight.ts';
import type { ZooKeeperFormat } from './schema.ts';

/** What is kept of one instance. */
export interface ZooKeeperInstance {
  /** Empty if the entry cannot be read. */
  readonly address: string;
  readonly port: number | undefined;
  readonly weight: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Absent: ready. */
  readonly state?: 'notReady' | 'disabled';
}

/** How writers store instances. One of the functions is set. */
export interface Format {
  /** The node of a service below `zookeeper.path`. */
  readonly nodeOf: (service: string) => string;
  /** Reads the name of an entry, which never changes. */
  readonly ofName?: (name: string) => ZooKeeperInstance;
  /** Reads the data of an entry, which may change. Undefined: the entry is not an instance. */
  readonly ofData?: (data: Buffer) => ZooKeeperInstance | undefined;
}

const NO_METADATA: ZooKeeperInstance['metadata'] = {};

const port = z.int().min(1).max(65_535).nullish().catch(undefined);

/** The JSON of Curator's service discovery, with the payload of Spring Cloud or Dubbo. */
export const curatorInstance = z.object({
  address: z.string(),
  port,
  sslPort: port,
  enabled: z.boolean().nullish(),
  payload: z.record(z.string(), z.unknown()).nullish().catch(undefined),
});

/** An entry that cannot be read is excluded and reported. It hides no other instance. */
const UNREADABLE: ZooKeeperInstance = {
  address: '',
  port: undefined,
  weight: 1,
  metadata: NO_METADATA,
};

export const FORMATS: Readonly<Record<ZooKeeperFormat, Format>> = {
  Curator: { nodeOf: (service) => service, ofData: ofCuratorData },
  DubboApplication: { nodeOf: (service) => service, ofData: ofCuratorData },
  // Dubbo encodes the name of the interface as it encodes the addresses.
  DubboInterface: { nodeOf: (service) => `${encodeURIComponent(service)}/providers`, ofName: ofDubboName },
};

function ofCuratorData(data: Buffer): ZooKeeperInstance | undefined {
  // A folder, for example of services whose names begin with the name of this one.
  if (data.length === 0) return undefined;
  try {
    const { success, data: instance } = curatorInstance.safeParse(parseJson(data));
    return success ? ofCurator(instance) : UNREADABLE;
  } catch {
    return UNREADABLE;
  }
}

export function ofCurator(instance: z.output<typeof curatorInstance>): ZooKeeperInstance {
  const metadata = metadataOf(instance.payload ?? {});
  const state = stateOf(instance.enabled, metadata);
  return {
    address: withoutBrackets(instance.address),
    port: instance.port ?? instance.sslPort ?? undefined,
    weight: metadataWeight(metadata['weight'], 1),
    metadata,
    ...(state === undefined ? {} : { state }),
  };
}

/** An IPv6 address in a URL, or as Dubbo writes it, has brackets. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/**
 * Spring Cloud and Dubbo have metadata in the payload. Programs that use Curator itself may have any payload, often a map. An entry
 * that is neither a text nor a number must not hide the instance.
 */
function metadataOf(payload: JsonObject): ZooKeeperInstance['metadata'] {
  const { metadata = payload } = payload;
  const entries = Object.entries(objectIn(metadata)).flatMap(([key, value]) => {
    const isKept = key !== '@class' && (typeof value === 'string' || typeof value === 'number');
    return isKept ? [[key, `${value}`] as const] : [];
  });
  return entries.length === 0 ? NO_METADATA : Object.fromEntries(entries);
}

/** Curator has `enabled`. Spring Cloud keeps the status in the metadata. */
function stateOf(
  enabled: boolean | null | undefined,
  metadata: ZooKeeperInstance['metadata'],
): ZooKeeperInstance['state'] {
  const status = metadata['instance_status'] ?? 'UP';
  if (enabled === false || status === 'OUT_OF_SERVICE') return 'disabled';
  return status === 'UP' ? undefined : 'notReady';
}

/** Of a provider without a weight. */
const DUBBO_DEFAULT_WEIGHT = 100;

/** `name`: the URL-encoded address of a provider. */
export function ofDubboName(name: string): ZooKeeperInstance {
  const text = decoded(name);
  const match =
    /^([a-z][a-z0-9+.-]{0,31}):\/\/(?:[^@/?]*@)?(\[[0-9a-fA-F:.]+\]|[^:/?[\]@]+)(?::([0-9]{1,5}))?[/?]/.exec(
      text,
    );
  if (match === null) return UNREADABLE;
  const [whole, protocol = '', host = '', portText] = match;
  const query = text.indexOf('?', whole.length - 1);
  const parameters = new URLSearchParams(query < 0 ? '' : text.slice(query));
  // A provider has an entry for each protocol.
  const metadata: ZooKeeperInstance['metadata'] = { protocol, ...Object.fromEntries(parameters) };
  const number = Number(portText);
  const isDisabled = metadata['disabled'] === 'true' || metadata['enabled'] === 'false';
  return {
    address: withoutBrackets(host),
    port: number > 0 && number <= 65_535 ? number : undefined,
    weight: metadataWeight(metadata['weight'], DUBBO_DEFAULT_WEIGHT) / DUBBO_DEFAULT_WEIGHT,
    metadata,
    ...(isDisabled ? { state: 'disabled' as const } : {}),
  };
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return '';
  }
}
