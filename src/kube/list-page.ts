import { objectIn, textIn } from '../runtime/json.ts';
import { KubeApiError } from './kube-error.ts';
import { ListItems } from './list-items.ts';

/** One page of a consistent list. */
export interface ListPage {
  readonly items: Iterable<unknown>;
  readonly version: string;
  /** Token of the next page; empty on the last one. */
  readonly next: string;
}

/**
 * The page in a response to a list request for `name` with continue token `token`. Throws `KubeApiError` if the response is
 * not a valid page, or returns the same token again, which would never end.
 */
export function listPageIn(answer: unknown, token: string | undefined, name: string): ListPage {
  const { items, metadata } = objectIn(answer);
  const { resourceVersion, continue: next = '' } = objectIn(metadata);
  const version = textIn(resourceVersion);
  if (
    !(Array.isArray(items) || items instanceof ListItems) ||
    version === '' ||
    typeof next !== 'string' ||
    (next !== '' && next === token)
  ) {
    throw new KubeApiError(
      `the API server sent an invalid list of ${name}: check items, metadata.resourceVersion and metadata.continue`,
    );
  }
  return { items, version, next };
}
