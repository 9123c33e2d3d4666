import { GROUP } from '../../api/group.ts';
import { IDENTITY, type ObservedOwner } from '../../model/ownership.ts';
import type { OwnershipMarks } from '../ownership.ts';

const DOMAIN = `${GROUP}/`;
const BACKENDS = `${DOMAIN}backends`;
const RETAIN = `${DOMAIN}deletion-policy`;

/** In APISIX, ownership is stored in labels of the upstream. */
export const labelMarks: OwnershipMarks = {
  keptIn: 'labels',

  encode(owner) {
    const labels: Record<string, string> = {};
    for (const part of IDENTITY) {
      const value = owner[part];
      if (value !== undefined) labels[`${DOMAIN}${part}`] = value;
    }
    if (owner.backends !== undefined) labels[BACKENDS] = owner.backends;
    // Written before the deletion, so that Orphan works even if the gateway is unavailable then.
    if (owner.retain) labels[RETAIN] = 'Orphan';
    return labels;
  },

  decode(labels) {
    if (!Object.keys(labels).some(isMark)) return undefined;
    const owner: { -readonly [Part in keyof ObservedOwner]: ObservedOwner[Part] } = {
      retain: labels[RETAIN] === 'Orphan',
    };
    for (const part of IDENTITY) {
      const value = labels[`${DOMAIN}${part}`];
      if (value !== undefined) owner[part] = value;
    }
    const backends = labels[BACKENDS];
    if (backends !== undefined) owner.backends = backends;
    return owner;
  },
};

/** `labels` without the ownership labels. */
export function withoutMarks(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !isMark(name)));
}

function isMark(name: string): boolean {
  return name.startsWith(DOMAIN);
}
