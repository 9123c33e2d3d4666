import type { JsonObject } from './store.ts';

/**
 * Differences between APISIX 3.18 and other versions, by source (`apisix/schema_def.lua`, `apisix/upstream.lua`,
 * `apisix/admin/resource.lua` of the tags 3.2.0 to 3.18.0, and later changes).
 */

/** Compares two versions of three numbers. */
function isBefore(version: string, other: string): boolean {
  const [a, b] = [version, other].map((text) =>
    text
      .split('.')
      .map((part) => part.padStart(4, '0'))
      .join(),
  );
  return a !== undefined && b !== undefined && a < b;
}

/** The last version that stores defaults. */
export const storesDefaults = (version: string): boolean => isBefore(version, '3.14.0');
/** The first version in which `?force=true` deletes a referenced object. */
export const forcesDeletion = (version: string): boolean => !isBefore(version, '3.5.0');
/** The first version in which an IPv6 address needs brackets. Before, they are optional. */
export const needsBrackets = (version: string): boolean => !isBefore(version, '3.15.0');
/** The first version that rejects an unknown field of an upstream. Before, it is stored. */
export const refusesUnknownFields = (version: string): boolean => !isBefore(version, '3.6.0');

/** The first version in which a worker writes resolved addresses to `nodes`, and the names to `dns_nodes`. */
export const resolvesIntoNodes = (version: string): boolean => !isBefore(version, '3.14.0');
/** The last version in which a worker selects the only node of a `least_conn` upstream without its balancer. */
export const picksLoneLeastConnNode = (version: string): boolean => isBefore(version, '3.18.0');

/** The error of a version for an upstream that 3.18 or later accepts; undefined if there is none. */
export function refusedBy(version: string, conf: JsonObject): string | undefined {
  const texts = (value: unknown): readonly unknown[] =>
    typeof value === 'object' && value !== null ? Object.values(value) : [];
  const isLonger = (value: unknown, most: number) => typeof value === 'string' && [...value].length > most;
  const { labels, name, nodes, tls, type, hash_on: hashOn = 'vars', key } = conf;
  const clientKey = typeof tls === 'object' && tls !== null ? (tls as JsonObject)['client_key'] : undefined;
  const refusals: readonly (readonly [until: string, isMet: boolean, error: string])[] = [
    ['3.4.0', texts(labels).some((value) => isLonger(value, 64)), 'property "labels": string too long'],
    ['3.15.0', isLonger(name, 100), 'property "name": string too long, expected at most 100'],
    [
      '3.17.0',
      typeof clientKey === 'string' && !isLonger(clientKey, 127),
      'property "tls": property "client_key": string too short, expected at least 128',
    ],
    [
      '3.4.0',
      version !== '3.2.2' && type === 'chash' && hashOn === 'vars' && key === 'mqtt_client_id',
      'failed to match pattern with "mqtt_client_id"',
    ],
    [
      '3.8.0',
      Array.isArray(nodes) && nodes.some((node) => (node as JsonObject | null)?.['port'] === undefined),
      'property "nodes": property "port" is required',
    ],
    [
      '3.19.0',
      refusesUnknownFields(version) && conf['warm_up_conf'] !== undefined,
      'additional properties forbidden, found warm_up_conf',
    ],
  ];
  const refusal = refusals.find(([until, isMet]) => isMet && isBefore(version, until));
  return refusal === undefined ? undefined : `invalid configuration: ${refusal[2]}`;
}
