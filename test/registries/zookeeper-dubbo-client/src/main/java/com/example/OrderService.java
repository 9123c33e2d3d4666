package com.example;

/** The interface that applications register. */
public interface OrderService {
  String get(String id);
}
