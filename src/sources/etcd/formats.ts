import { z } from 'zod';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { DEFAULT_PREFIXES, type EtcdFormat, type EtcdSection } from './schema.ts';

/** A place where an instance listens. */
export interface EtcdPlace {
  /** Only in formats whose instances have an endpoint per scheme. */
  readonly scheme: string | undefined;
  readonly address: string;
  readonly port: number | undefined;
}

/** What is kept of one instance. An unreadable value has no place. */
export interface EtcdInstance {
  readonly places: readonly EtcdPlace[];
  readonly weight: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Absent: ready. Only the format JSON has other states. */
  readonly state?: 'notReady' | 'disabled';
}

const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));
/** An entry in answers of etcd. */
export const keyValue = z.object({ key: bytes, value: bytes.default(Buffer.alloc(0)) });

export type KeyValue = z.output<typeof keyValue>;

/** One key below the prefix of a service. */
export interface EtcdEntry {
  readonly service: string;
  /** The key without the prefix of the service. */
  readonly rest: string;
  readonly value: Buffer;
}

const NO_METADATA: EtcdInstance['metadata'] = {};
const UNREADABLE: EtcdInstance = { places: [], weight: 1, metadata: NO_METADATA };

/** Clients may write any values here. An entry that is not a text must not hide the instance. */
const texts = z
  .record(z.string(), z.unknown())
  .nullish()
  .catch(undefined)
  .transform((entries) => {
    const kept = Object.entries(entries ?? {}).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    );
    return kept.length === 0 ? NO_METADATA : Object.fromEntries(kept);
  });
const weight = z.number().min(0).nullish();

const documented = z.object({
  address: z.string(),
  port: z.int().min(1).max(65_535),
  weight,
  metadata: texts,
  ready: z.boolean().nullish(),
  disabled: z.boolean().nullish(),
});
const kratos = z.object({ name: z.string(), metadata: texts, endpoints: z.array(z.string()).max(16) });
const kitex = z.object({ address: z.string(), weight: z.number().nullish(), tags: texts });
const goMicro = z.object({
  name: z.string(),
  metadata: texts,
  nodes: z.array(z.object({ address: z.string(), metadata: texts })).max(64),
});
const grpc = z.object({ Addr: z.string(), Metadata: texts });

/** The prefix of the keys of a service. It ends with "/", so that `a` does not match `ab`. */
export function keyPrefix(
  { format, prefix = DEFAULT_PREFIXES[format] }: EtcdSection,
  service: string,
): string {
  // The registry of go-micro puts the name into one segment of the key.
  const segment = format === 'GoMicro' ? service.replaceAll('/', '-') : service;
  return `${prefix === '' ? '' : `${prefix.replace(/\/$/, '')}/`}${segment}/`;
}

/** The instances of `service` in an entry whose key begins with `prefix`. */
export function instancesIn(
  format: EtcdFormat,
  service: string,
  prefix: Buffer,
  { key, value }: KeyValue,
): readonly EtcdInstance[] {
  const rest = key.subarray(prefix.length).toString();
  return instancesOf(format, { service, rest, value });
}

/**
 * The instances in one entry. None if it belongs to another service, such as `a/b` below `a`. A value of this service that
 * cannot be read counts as an instance without a place, so that it is excluded and reported and hides no other instance.
 */
export function instancesOf(format: EtcdFormat, entry: EtcdEntry): readonly EtcdInstance[] {
  switch (format) {
    case 'Kratos':
      return ofNamed(kratos, entry, ({ endpoints, metadata }) => [
        { places: endpoints.flatMap(placesOfUrl), weight: weightOf(metadata), metadata },
      ]);
    case 'GoMicro':
      return ofNamed(goMicro, entry, (service) =>
        service.nodes.map((node) => ({
          places: placesOf(node.address),
          weight: 1,
          metadata: { ...service.metadata, ...node.metadata },
        })),
      );
    default:
      return isOneSegment(entry.rest) ? [instanceOf(format, entry.value)] : [];
  }
}

function instanceOf(format: Exclude<EtcdFormat, 'Kratos' | 'GoMicro'>, value: Buffer): EtcdInstance {
  switch (format) {
    case 'HostPort':
    case 'GoZero':
      return { places: placesOf(value.toString().trim()), weight: 1, metadata: NO_METADATA };
    case 'JSON': {
      const data = parsed(documented, value);
      if (data === undefined) return UNREADABLE;
      const { address, port, metadata, ready, disabled } = data;
      const state = disabled === true ? 'disabled' : 'notReady';
      return {
        places: [{ scheme: undefined, address, port }],
        weight: data.weight ?? 1,
        metadata,
        ...(disabled === true || ready === false ? { state } : {}),
      };
    }
    case 'Kitex': {
      const data = parsed(kitex, value);
      if (data === undefined) return UNREADABLE;
      return {
        places: placesOf(bracketed(data.address)),
        weight: weightOr(data.weight, KITEX_DEFAULT_WEIGHT),
        metadata: data.tags,
      };
    }
    case 'GRPC': {
      const data = parsed(grpc, value);
      if (data === undefined) return UNREADABLE;
      return { places: placesOf(data.Addr), weight: 1, metadata: data.Metadata };
    }
    default:
      return format satisfies never;
  }
}

/** Of a format whose values contain the name of the service. */
function ofNamed<Value extends { readonly name: string }>(
  schema: z.ZodType<Value>,
  { service, rest, value }: EtcdEntry,
  read: (data: Value) => readonly EtcdInstance[],
): readonly EtcdInstance[] {
  const data = parsed(schema, value);
  // Without a readable name, the key decides.
  if (data === undefined) return isOneSegment(rest) ? [UNREADABLE] : [];
  return data.name === service ? read(data) : [];
}

function isOneSegment(rest: string): boolean {
  return rest !== '' && !rest.includes('/');
}

function parsed<Value>(schema: z.ZodType<Value>, value: Buffer): Value | undefined {
  try {
    return schema.safeParse(parseJson(value)).data;
  } catch {
    return undefined;
  }
}

/** What Kitex's own resolver uses for an instance without a weight, which is written as 0. */
const KITEX_DEFAULT_WEIGHT = 10;

function weightOr(weight: number | null | undefined, otherwise: number): number {
  return weight != null && weight > 0 ? weight : otherwise;
}

/** The longest IPv6 address has 45 characters. */
const MAX_IPV6_AND_PORT = 51;

/** Kitex writes an IPv6 address without brackets. */
function bracketed(address: string): string {
  // The time that the pattern needs grows with the square of the length.
  if (address.length > MAX_IPV6_AND_PORT) return address;
  const match = /^([0-9a-fA-F:.]*:[0-9a-fA-F:.]*):([0-9]{1,5})$/.exec(address);
  return match === null ? address : `[${match[1]}]:${match[2]}`;
}

/** `host:port` or `[IPv6]:port`. */
function placesOf(text: string, scheme?: string): readonly EtcdPlace[] {
  const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([^[\]:/\s]{1,253})):([0-9]{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return address === undefined || port < 1 || port > 65_535 ? [] : [{ scheme, address, port }];
}

/** `grpc://host:port?isSecure=false`. */
function placesOfUrl(text: string): readonly EtcdPlace[] {
  const match = /^([a-z][a-z0-9+.-]{0,15}):\/\/([^/?#]{1,300})(?:[/?#]|$)/.exec(text);
  return match?.[2] === undefined ? [] : placesOf(match[2], match[1]);
}

/** What Kratos' own load balancers use for an instance whose metadata has no whole number as its weight. */
const KRATOS_DEFAULT_WEIGHT = 100;

/** Kratos has no field for weights. Its load balancers read them from this entry. */
function weightOf({ weight: text }: EtcdInstance['metadata']): number {
  return text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : KRATOS_DEFAULT_WEIGHT;
}
