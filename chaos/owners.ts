import { ownersFields } from './comparison.ts';
import type { Site } from './site.ts';

/** Writes somebody else's upstream. */
export function writeForeign(site: Site, id: string, value: Record<string, unknown>): void {
  site.gateway.put('upstreams', id, value);
  rememberForeign(site, [id]);
}

/** What the gateway now holds under these ids is what must stay there. */
export function rememberForeign(site: Site, ids: Iterable<string>): void {
  for (const id of ids) site.model.foreign.set(id, JSON.stringify(site.gateway.get('upstreams', id)));
}

/** As the owner of an upstream of which nodes alone are ours. */
export function writeKept(site: Site, id: string, value: Record<string, unknown>): void {
  site.gateway.put('upstreams', id, value);
  rememberKept(site, [id]);
}

/** What the gateway now holds under these ids, but for the nodes, is what must stay there. */
export function rememberKept(site: Site, ids: Iterable<string>): void {
  for (const id of [...ids]) site.model.kept.set(id, ownersFields(site.gateway.get('upstreams', id)));
}

/** Those whose object is gone are somebody else's as a whole. */
export function giveBackKept(site: Site): void {
  const { kept, upstreams } = site.model;
  for (const [id, fields] of [...kept]) {
    if (upstreams.has(id)) continue;
    kept.delete(id);
    if (fields !== undefined) rememberForeign(site, [id]);
  }
}
