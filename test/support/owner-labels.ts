import { type Owner, ownerMark } from '../../src/decide/ownership.ts';
import { labelMarks, withoutMarks } from '../../src/gateways/apisix/ownership.ts';
import type { ObservedUpstream } from '../../src/model/upstream.ts';

/** The ownership labels in APISIX. */
export function ownerLabels(
  owner: Owner,
  { orphan }: { readonly orphan: boolean },
): Readonly<Record<string, string>> {
  return labelMarks.encode(ownerMark(owner, { retain: orphan }));
}

/** The observed upstream with these labels. */
export function observedLabels(
  labels: Readonly<Record<string, string>>,
): Pick<ObservedUpstream, 'owner' | 'labels'> {
  return { owner: labelMarks.decode(labels), labels: withoutMarks(labels) };
}
