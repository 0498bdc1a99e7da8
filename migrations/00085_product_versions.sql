-- Products are changed and deleted, and cached by every instance.
-- +goose Up
ALTER TABLE products
    ADD COLUMN version bigint NOT NULL DEFAULT 1, -- of all columns but stock, which changes with each order
    ADD COLUMN deleted_at timestamptz;            -- null: it is sold
-- A deleted product keeps its row, which orders refer to, and frees its SKU.
CREATE UNIQUE INDEX products_sku ON products (sku) WHERE deleted_at IS NULL;
ALTER TABLE products DROP CONSTRAINT products_sku_key;

-- +goose StatementBegin
CREATE FUNCTION log_product_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changes (kind, id, version) VALUES ('product', COALESCE(NEW.id, OLD.id),
        CASE WHEN NEW.deleted_at IS NULL THEN COALESCE(NEW.version, 0) ELSE 0 END);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
-- An update of stock alone runs no trigger: there are up to a thousand a second.
CREATE TRIGGER log_change AFTER INSERT OR DELETE
    OR UPDATE OF sku, name, description, price_amount, price_currency, version, deleted_at
    ON products FOR EACH ROW EXECUTE FUNCTION log_product_change();

-- +goose Down
DROP TRIGGER log_change ON products;
DROP FUNCTION log_product_change;
UPDATE products SET sku = sku || ' ' || id WHERE deleted_at IS NOT NULL;
ALTER TABLE products ADD CONSTRAINT products_sku_key UNIQUE (sku);
DROP INDEX products_sku;
ALTER TABLE products DROP COLUMN version, DROP COLUMN deleted_at;
