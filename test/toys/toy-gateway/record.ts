import type { OwnershipMarks } from '../../../src/gateways/ownership.ts';
import { IDENTITY, type ObservedOwner } from '../../../src/model/ownership.ts';

/** Data that is stored separately because a resource has no field for it. */
export interface ToyRecord {
  readonly marks: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** Stores the ownership mark of an upstream in a separate record. */
export const recordMarks: OwnershipMarks = {
  keptIn: 'record',

  encode(owner) {
    const parts = IDENTITY.flatMap((part) => (owner[part] === undefined ? [] : [[part, owner[part]]]));
    return {
      ...(Object.fromEntries(parts) as Record<string, string>),
      ...(owner.retain ? { retain: 'yes' } : {}),
    };
  },

  decode(marks): ObservedOwner | undefined {
    if (Object.keys(marks).length === 0) return undefined;
    const parts = IDENTITY.flatMap((part) => (marks[part] === undefined ? [] : [[part, marks[part]]]));
    return { ...Object.fromEntries(parts), retain: marks['retain'] === 'yes' };
  },
};
