/**
 * Splits a key of the hash form of `nodes` (`host`, `host:port`, `[v6]`, `[v6]:port`) like APISIX does (by source):
 * brackets stay, and a suffix after the last colon is a port only if it is a number.
 */
export function parseNodeAddress(address: string): { readonly host: string; readonly port?: number } {
  const colon = address.lastIndexOf(':');
  const bareIpv6 = !address.startsWith('[') && address.indexOf(':') !== colon && !address.includes('.');
  const ipv6WithoutPort = address.startsWith('[') && address.charAt(colon - 1) !== ']';
  if (colon < 0 || bareIpv6 || ipv6WithoutPort) return { host: address };
  const host = address.slice(0, colon);
  const port = address.slice(colon + 1);
  return /^\s*-?\d+(\.\d+)?\s*$/.test(port) ? { host, port: Number(port) } : { host };
}
