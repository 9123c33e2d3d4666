import { parseIp } from '../../api/ip-address.ts';
import type { Endpoint } from '../../model/endpoint.ts';

/** The longest DNS name. */
const MAX_LENGTH = 253;

/**
 * The address of an instance as endpoints have it: a canonical IP address, or any other text without a family, which `decide/`
 * may accept as a DNS name. The client that registers an instance chooses the text, and it may appear in a status.
 */
export function instanceAddress(text: string): Pick<Endpoint, 'address' | 'family'> {
  const ip = parseIp(text);
  if (ip === undefined) {
    const name = text.slice(0, MAX_LENGTH).toLowerCase();
    return { address: name.replaceAll(/[^!-~]/g, '?') || '?' };
  }
  if (ip.length === 2) return { address: text, family: 'IPv4' };
  return { address: new URL(`http://[${text}]`).hostname.slice(1, -1), family: 'IPv6' };
}
