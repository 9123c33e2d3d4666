import { ownersFields } from './comparison.ts';
import type { Site } from './site.ts';

/** Writes an upstream of another owner. */
export function writeForeign(site: Site, id: string, value: Record<string, unknown>): void {
  site.gateway.put('upstreams', id, value);
  rememberForeign(site, [id]);
}

/** From now on, these upstreams must not change. */
export function rememberForeign(site: Site, ids: Iterable<string>): void {
  for (const id of ids) site.model.foreign.set(id, JSON.stringify(site.gateway.get('upstreams', id)));
}

/** Writes an upstream with `manage: Nodes` as its owner. */
export function writeKept(site: Site, id: string, value: Record<string, unknown>): void {
  site.gateway.put('upstreams', id, value);
  rememberKept(site, [id]);
}

/** From now on, these upstreams must not change, except their nodes. */
export function rememberKept(site: Site, ids: Iterable<string>): void {
  for (const id of [...ids]) site.model.kept.set(id, ownersFields(site.gateway.get('upstreams', id)));
}

/** Upstreams whose object is deleted belong to their owner again, including the nodes. */
export function giveBackKept(site: Site): void {
  const { kept, upstreams } = site.model;
  for (const [id, fields] of [...kept]) {
    if (upstreams.has(id)) continue;
    kept.delete(id);
    if (fields !== undefined) rememberForeign(site, [id]);
  }
}
