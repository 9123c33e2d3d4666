import { describe, expect, it } from 'vitest';
import { EndpointChange } from '../../../src/engine/endpoint-change.ts';

describe('EndpointChange', () => {
  it('keeps the oldest change until it is taken', () => {
    const change = new EndpointChange();
    change.arrived(5);
    change.arrived(15);
    expect(change.take()).toBe(5);
    expect(change.take()).toBeUndefined();
  });

  it('prefers a restored change to one that arrived meanwhile', () => {
    const change = new EndpointChange();
    change.arrived(5);
    const since = change.take();
    change.arrived(15);
    change.restore(since);
    expect(change.take()).toBe(5);
    change.restore(undefined);
    expect(change.take()).toBeUndefined();
  });

  it('is pending until it is taken, and after it is restored', () => {
    const change = new EndpointChange();
    expect(change.isPending).toBe(false);
    change.arrived(0);
    expect(change.isPending).toBe(true);
    const since = change.take();
    expect(change.isPending).toBe(false);
    change.restore(since);
    expect(change.isPending).toBe(true);
  });
});
