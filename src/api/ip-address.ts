/** An IP address as 16-bit groups: two for IPv4, eight for IPv6. */
export type IpAddress = readonly number[];

/** The addresses that share the first `bits` bits with `first`. */
export interface IpRange {
  readonly first: IpAddress;
  readonly bits: number;
}

const GROUP_BITS = 16;

/**
 * Parses an IPv4 address in dotted decimal form or an IPv6 address (RFC 4291); undefined for anything else. Leading zeros
 * are invalid, because resolvers read `010.0.0.1` as octal.
 */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): IpAddress | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = match.slice(1).map(Number);
  if (Math.max(a, b, c, d) > 255 || `${a}.${b}.${c}.${d}` !== text) return undefined;
  return [a * 256 + b, c * 256 + d];
}

function parseIpv6(text: string): IpAddress | undefined {
  const [head = '', tail, ...more] = text.split('::');
  const before = groupsIn(head, tail === undefined);
  if (before === undefined || more.length > 0) return undefined;
  if (tail === undefined) return before.length === 8 ? before : undefined;
  const after = groupsIn(tail, true);
  if (after === undefined || before.length + after.length > 7) return undefined;
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The groups on one side of `::`. With `isLast`, the last two groups may be written as an IPv4 address. */
function groupsIn(text: string, isLast: boolean): readonly number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const dotted = isLast ? parseIpv4(parts.at(-1) ?? '') : undefined;
  if (dotted !== undefined) parts.pop();
  if (!parts.every((part) => /^[0-9a-fA-F]{1,4}$/.test(part))) return undefined;
  return [...parts.map((part) => Number.parseInt(part, 16)), ...(dotted ?? [])];
}

/** Parses a range in CIDR notation, for example `10.0.0.0/8`; undefined for anything else. */
export function parseIpRange(text: string): IpRange | undefined {
  const [, address = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const first = parseIp(address);
  const bits = Number(length);
  if (first === undefined || length === '' || bits > first.length * GROUP_BITS) return undefined;
  return { first, bits };
}

/** Whether the range contains `address`. An IPv4 range never contains an IPv6 address, and vice versa. */
export function isInRange({ first, bits }: IpRange, address: IpAddress): boolean {
  if (first.length !== address.length) return false;
  return first.every((group, index) => {
    const counting = Math.min(GROUP_BITS, Math.max(0, bits - index * GROUP_BITS));
    const shift = GROUP_BITS - counting;
    return group >> shift === (address[index] ?? 0) >> shift;
  });
}
