-- The names of an order's products when it was placed: an invoice doesn't change
-- when a product is renamed.
-- +goose Up
-- The default is for instances of the previous release, which don't write names
-- and run until they are replaced. Their invoices show the product's id.
ALTER TABLE order_items ADD COLUMN sku text NOT NULL DEFAULT '', ADD COLUMN name text NOT NULL DEFAULT '';
UPDATE order_items i SET sku = p.sku, name = p.name FROM products p WHERE p.id = i.product_id;

-- +goose Down
ALTER TABLE order_items DROP COLUMN sku, DROP COLUMN name;
