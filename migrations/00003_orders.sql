-- Orders and their items. Prices are copied when the order is placed.
-- +goose Up
CREATE TABLE orders (
    id             text PRIMARY KEY,
    owner          text NOT NULL,
    status         text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    reason         text,
    email          text NOT NULL,
    payment_token  text NOT NULL, -- for the payment worker; in no answer and no log
    total_amount   bigint NOT NULL CHECK (total_amount >= 0), -- minor units
    total_currency text NOT NULL CHECK (total_currency ~ '^[A-Z]{3}$'),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_list ON orders (owner, created_at DESC, id DESC);

CREATE TABLE order_items (
    order_id    text NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    position    integer NOT NULL, -- as the caller listed them, from 0
    product_id  text NOT NULL REFERENCES products (id),
    quantity    bigint NOT NULL CHECK (quantity > 0),
    unit_amount bigint NOT NULL CHECK (unit_amount >= 0),
    currency    text NOT NULL,
    PRIMARY KEY (order_id, position)
);

-- +goose Down
DROP TABLE order_items;
DROP TABLE orders;
